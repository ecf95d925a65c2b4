// The contract of the product of packed signs.
//
// A sign is a bit: 1 is -1 (negative), 0 is +1; +0 and -0 are +1. A row of
// signs is a row of 32-bit words, sign k in bit k % 32 of word k / 32; the bits
// after the last sign are 0, in rows and in weights, so that they never differ.
//
// Weights stand in panels of 16 units, one layout for all levels:
//
//   signs[panel][word][lane]   the word of unit 16 * panel + lane
//
// Units that fill up the last panel are 0. Masks, where there are any, stand in
// the same order; bit 1 keeps a weight, bit 0 drops it. With `kept[n]` weights
// of unit n that are not dropped, every level computes in integers
//
//   sum[m][n] = kept[n] - 2 * popcount((row[m] ^ signs[n]) & masks[n])
//
// which is the product of the row with the weights in {-1, 0, +1}, and then
// one of
//
//   sums    sum, int32
//   floats  float(sum) * scale[n] + bias[n], each step rounded to float32;
//           without scale or bias, without that step
//   bits    1 where (sum < thresholds[n]) differs from bit n of `flips`, packed
//           as rows are, so that it can be the row of a next product
//
// so all levels agree bit for bit.
//
// A row may be cut into segments of whole words that lie apart, in the same
// order for all rows: the pixels of an image under the window of a convolution.
//
// Who calls a level has checked the arguments.
#ifndef KERAS_COMPRESS_CSRC_KERNELS_XNOR_MATMUL_H_
#define KERAS_COMPRESS_CSRC_KERNELS_XNOR_MATMUL_H_

#include <stdint.h>

namespace keras_compress {

constexpr int64_t kPanelUnits = 16;

struct XnorWeights {
  int64_t inputs;         // signs in a row
  int64_t units;          // of any number; panels are full
  int64_t segments;       // parts of a row
  int64_t words;          // in each part
  int64_t stride;         // words of one unit from a panel to the next
  const uint32_t* signs;  // [panels][segments * words][16]
  const uint32_t* masks;  // the same, or null: all are kept
  const int32_t* kept;    // [units]
};

// Part s of row m is at words + starts[m] + offsets[s]. Without `starts` rows
// are whole, one after another.
struct XnorRows {
  const uint32_t* words;
  const int64_t* starts;       // [rows] or null
  const int64_t* offsets;      // [segments], where there are starts
  const int32_t* const* kept;  // [rows], or null: that of the weights
};

enum XnorOutputKind { kXnorFloats = 0, kXnorSums = 1, kXnorBits = 2 };

struct XnorOutput {
  int kind;
  bool stream;                // write past the caches; rows are aligned to 64
  const float* scale;         // [units] or null
  const float* bias;          // [units] or null
  const int32_t* thresholds;  // [units], bits alone
  const uint32_t* flips;      // [ceil(units / 32)], bits alone
  void* data;                 // [rows][units], bits [rows][ceil(units / 32)]
};

struct XnorKernels {
  // Packs rows of `width` floats; false where one is NaN.
  bool (*pack)(const float* inputs, int64_t rows, int64_t width,
               uint32_t* words);
  // Rows [row, row_end) and panels [panel, panel_end); `panel` is even, and
  // `panel_end` too or the last, so that no word of bits has two writers.
  void (*product)(const XnorWeights* weights, const XnorRows* rows,
                  const XnorOutput* output, int64_t row, int64_t row_end,
                  int64_t panel, int64_t panel_end);
};

// One table for each level; a level exists only where its file is compiled.
const XnorKernels* XnorKernelsScalar();
const XnorKernels* XnorKernelsAvx2();
const XnorKernels* XnorKernelsAvx512();        // without VPOPCNTDQ
const XnorKernels* XnorKernelsAvx512Popcnt();  // with it
const XnorKernels* XnorKernelsNeon();

}  // namespace keras_compress

#endif  // KERAS_COMPRESS_CSRC_KERNELS_XNOR_MATMUL_H_
