// The contract of the product of dense rows with a sparse matrix.
//
//   outputs[m][n] = bias[n] + sum over k of inputs[m][k] * W[k][n]
//
// W has `inputs` rows and `units` columns and is stored column by column: the
// kept weights of column n are values[p] at input indices[p], for p from
// starts[n] up to but not including starts[n + 1], in ascending order of input.
// Inputs and outputs are dense and row-major.
//
// Every level computes, for every output, exactly this chain in float32:
//
//   acc = +0
//   for the kept weights of the column, in ascending order of input:
//     acc = fma(inputs[m][indices[p]], values[p], acc)
//   outputs[m][n] = acc + bias[n]
//
// so all levels agree bit for bit, infinities and negative zeros included; a
// NaN is a NaN with any payload. Levels differ in what runs side by side: rows
// in lanes, columns in turns. No level splits or reorders one chain.
//
// A convolution is the same product. A row is an output pixel, in the order of
// image, height, width; its inputs are the patch under the kernel, in the order
// of kernel height, kernel width, channel. Padding is a patch value of +0 that
// takes part in the chain like any other.
//
// Who calls a level has checked the arguments: no level looks at starts or
// indices before it uses them, apart from `max_index`.
#ifndef KERAS_COMPRESS_CSRC_KERNELS_SPARSE_MATMUL_H_
#define KERAS_COMPRESS_CSRC_KERNELS_SPARSE_MATMUL_H_

#include <stdint.h>

#include "conv_geometry.h"

namespace keras_compress {

struct SparseWeights {
  int64_t inputs;
  int64_t units;
  const float* values;    // [starts[units]]
  const void* indices;    // [starts[units]], uint16_t or int32_t
  int index_bytes;        // 2 or 4
  const int32_t* starts;  // [units + 1], from 0, never falling
  const float* bias;      // [units]
};

struct SparseKernels {
  // Floats of scratch memory, aligned to 64 bytes, for a call of so many rows.
  int64_t (*scratch)(int64_t inputs, int64_t rows);
  void (*matmul)(const SparseWeights* weights, const float* inputs,
                 int64_t rows, float* outputs, float* scratch);
  void (*conv2d)(const SparseWeights* weights, const ConvGeometry* geometry,
                 const float* inputs, float* outputs, float* scratch);
  // The largest index of `count`, read as unsigned, so that a negative one is
  // large; 0 for none.
  uint32_t (*max_index)(const void* indices, int index_bytes, int64_t count);
};

// One table for each level; a level exists only where its file is compiled.
const SparseKernels* SparseKernelsScalar();
const SparseKernels* SparseKernelsAvx2();
const SparseKernels* SparseKernelsAvx512();
const SparseKernels* SparseKernelsNeon();

}  // namespace keras_compress

#endif  // KERAS_COMPRESS_CSRC_KERNELS_SPARSE_MATMUL_H_
