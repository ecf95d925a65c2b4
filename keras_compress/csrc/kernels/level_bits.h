// The contract of the bits of levels: numbers to the words of a code.
//
// Number x is at level i where i of the limits, which ascend, are not above it;
// its word is row i of a table. NaN is at none: its word is the row after the
// last level's. There are comparisons and copies alone, so that all levels of
// SIMD agree bit for bit.
//
// Who calls a level of SIMD has checked the arguments.
#ifndef KERAS_COMPRESS_CSRC_KERNELS_LEVEL_BITS_H_
#define KERAS_COMPRESS_CSRC_KERNELS_LEVEL_BITS_H_

#include <stdint.h>

namespace keras_compress {

struct LevelTable {
  const float* limits;  // [count], ascending
  int64_t count;
  const float* words;  // [count + 2][length]
  int64_t length;
};

// Writes the words of `inputs` [count] to `outputs` [count][length].
using LevelBitsKernel = void (*)(const LevelTable* table, const float* inputs,
                                 int64_t count, float* outputs);

// One for each level of SIMD; it exists only where its file is compiled.
LevelBitsKernel LevelBitsScalar();
LevelBitsKernel LevelBitsAvx2();
LevelBitsKernel LevelBitsAvx512();
LevelBitsKernel LevelBitsNeon();

}  // namespace keras_compress

extern "C" {

// The words of `count` numbers, on several threads if that pays. 0, or 3 where
// an argument is out of range.
int kc_level_bits(const float* inputs, int64_t count, const float* limits,
                  int64_t limit_count, const float* words, int64_t length,
                  float* outputs);

}  // extern "C"

#endif  // KERAS_COMPRESS_CSRC_KERNELS_LEVEL_BITS_H_
