// The contract of the product of rows of integers with a matrix of integers.
//
//   sum[m][n] = bias[n] + sum over k of x[m][k] * w[k][n]       in 32 bits
//
// x are integers of 8 or 16 bits; floats are made such by
// clamp(round(float * 2^fraction), low, high). w are integers of 16, 8 or 4
// bits, stored in panels of 16 units (8 bits: [panel][k / 4][unit][k % 4]; 4
// bits: [panel][k / 8][unit][k % 4], k % 8 < 4 in the low half of the byte; 16
// bits: [panel][k / 2][unit][k % 2], each the low byte first), zeros behind the
// last unit and the last input. A step is the 64 bytes of one panel and one k
// group. Of blocks, which have 8 bits, only some steps are stored: those of
// panel p are number starts[p] to starts[p + 1] - 1, and indices[] says of each
// its k / 4; all others are of zeros. An output is
//
//   value = requantize ? clamp(round(sum / 2^shifts[n]), low, high) : sum
//   float(value) * scales[n]     or the value itself, in 8, 16 or 32 bits
//
// All of it is exact, but for the rounding that is asked for, as long as no sum
// leaves 32 bits, which is up to the caller: he knows the weights. So all
// levels agree bit for bit with plain loops, whatever order they add in.
//
// Levels keep rows in a form of their own, which `prepare` writes.
#ifndef KERAS_COMPRESS_CSRC_KERNELS_INTEGER_MATMUL_H_
#define KERAS_COMPRESS_CSRC_KERNELS_INTEGER_MATMUL_H_

#include <stdint.h>

namespace keras_compress {

constexpr int64_t kIntegerPanel = 16;

enum IntegerKind {
  kIntegerFloat = 0,
  kInteger32 = 1,
  kInteger8 = 2,
  kIntegerUnsigned8 = 3,
  kInteger16 = 4
};

enum IntegerRounding { kNearestEven = 0, kTruncate = 1, kFloor = 2 };

struct IntegerWeights {
  int64_t inputs;
  int64_t units;
  int bits;  // 16, 8 or 4
  const int8_t* panels;
  const int32_t* column_sums;  // [units], the sum of w over k
  const int32_t* bias;         // [units]
  const uint16_t* indices;     // of blocks
  const int32_t* starts;       // of blocks: [panels + 1]; else null
};

// Rows as they come: `kind` is one of floats, and integers of 8 and 16 bits.
struct IntegerRows {
  int kind;
  const void* rows;
  int64_t count;
  int rounding;  // of floats, as the rest
  float scale;   // 2^fraction
  float low;
  float high;
  bool wide;  // more than 8 bits
};

struct IntegerOutput {
  int kind;
  bool requantize;
  int rounding;
  int32_t low;
  int32_t high;
  const int32_t* shifts;  // [units] in [-30, 31]
  const float* scales;    // [units]
  void* outputs;          // [rows][units]
};

struct IntegerKernels {
  // Rows that are prepared and multiplied together.
  int64_t tile_rows;
  // Bytes of a prepared row.
  int64_t (*row_bytes)(int64_t inputs, bool wide);
  // Rows [row, row_end) as `product` reads them; false if a float is NaN.
  bool (*prepare)(const IntegerRows* rows, int64_t inputs, int64_t row,
                  int64_t row_end, void* prepared);
  // The outputs of rows [row, row_end) in panels [panel, panel_end).
  void (*product)(const IntegerWeights* weights, const void* prepared,
                  const IntegerRows* rows, const IntegerOutput* output,
                  int64_t row, int64_t row_end, int64_t panel,
                  int64_t panel_end);
  // The same for blocks, and for weights of 16 bits; null: these here do it.
  const IntegerKernels* blocks;
  const IntegerKernels* words;
};

// One table for each level; a level exists only where its file is compiled.
const IntegerKernels* IntegerKernelsScalar();
const IntegerKernels* IntegerKernelsAvx2();
const IntegerKernels* IntegerKernelsAvx512Vnni();
const IntegerKernels* IntegerBlocksAvx512Vnni();
const IntegerKernels* IntegerKernelsAmx();
const IntegerKernels* IntegerKernelsNeon();

}  // namespace keras_compress

#endif  // KERAS_COMPRESS_CSRC_KERNELS_INTEGER_MATMUL_H_
