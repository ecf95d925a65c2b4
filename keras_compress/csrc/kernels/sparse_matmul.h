// The contract of the product of dense rows with a sparse matrix.
//
//   outputs[m][n] = bias[n] + sum over k of inputs[m][k] * W[k][n]
//
// W has `inputs` rows and `units` columns; inputs and outputs are dense and
// row-major. Every level computes, for every output, exactly this chain:
//
//   acc = +0
//   for the stored weights of the column, in ascending order of input:
//     acc = fma(inputs[m][k], weight, acc)       in float32
//   outputs[m][n] = acc + bias[n]
//
// so all levels agree bit for bit, infinities and negative zeros included; a
// NaN is a NaN with any payload. Levels differ in what runs side by side: rows
// or columns in lanes, columns in turns. No level splits or reorders a chain.
// A zero that is stored takes part like any other weight.
//
// What is stored, and where, is the layout, of which a matrix has one:
//
// kSparseColumns. Column n is values[p] at input indices[p], for p from
//   starts[n] up to but not including starts[n + 1].
//
// kSparsePanels, for blocks of one input and 16 consecutive outputs. Panel q is
//   the outputs from 16 q on; its block p, from starts[q] to starts[q + 1], is
//   values[16 p + j] for output 16 q + j, at input indices[p].
//
// kSparseLanes, for few rows. Columns are put in the order order[32 q + j],
//   where numbers from `units` on are none. Step s of group q, from starts[q]
//   to starts[q + 1], is values[32 s + j] for lane j at input 4 windows[s] +
//   indices[32 s + j]; an index is less than 32, so that 32 inputs in registers
//   are a table for all 32 lanes. Inputs past the last are +0. A lane that has
//   no weight in the window has a zero.
//
// kSparseBlocks, for many rows. Inputs are cut in blocks of kSparseBlock and
//   outputs in chunks of kSparseChunk. Chunk after chunk, block after block
//   within it, there is a segment for every output of the chunk: longer ones
//   first, so that the ends of loops are foreseen. A segment is two bytes, the
//   place of its output in the chunk and its length, and so many of the next
//   values, at inputs indices[p] of the block.
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

enum SparseLayout {
  kSparseColumns = 0,
  kSparsePanels = 1,
  kSparseLanes = 2,
  kSparseBlocks = 3
};

constexpr int64_t kSparsePanel = 16;
constexpr int64_t kSparseGroup = 32;
constexpr int64_t kSparseWindow = 32;
constexpr int64_t kSparseWindowStep = 4;
constexpr int64_t kSparseBlock = 96;
constexpr int64_t kSparseChunk = 64;

struct SparseWeights {
  int64_t layout;
  int64_t inputs;
  int64_t units;
  const float* values;
  const void* indices;
  int64_t index_bytes;      // 2 or 4; of lanes and blocks 1
  const int32_t* starts;    // of columns, panels and lanes
  const uint16_t* windows;  // of lanes
  const int32_t* order;     // of lanes
  const uint8_t* segments;  // of blocks: place and length, in turns
  const float* bias;        // [units]
};

struct SparseKernels {
  // Floats of scratch memory, aligned to 64 bytes, for a call of so many rows.
  int64_t (*scratch)(const SparseWeights* weights, int64_t rows);
  void (*matmul)(const SparseWeights* weights, const float* inputs,
                 int64_t rows, float* outputs, float* scratch);
  void (*conv2d)(const SparseWeights* weights, const ConvGeometry* geometry,
                 const float* inputs, float* outputs, float* scratch);
  // The largest index of `count`, read as unsigned, so that a negative one is
  // large; 0 for none.
  uint32_t (*max_index)(const void* indices, int64_t index_bytes,
                        int64_t count);
};

// One table for each level; a level exists only where its file is compiled.
const SparseKernels* SparseKernelsScalar();
const SparseKernels* SparseKernelsAvx2();
const SparseKernels* SparseKernelsAvx512();
const SparseKernels* SparseKernelsNeon();

}  // namespace keras_compress

#endif  // KERAS_COMPRESS_CSRC_KERNELS_SPARSE_MATMUL_H_
