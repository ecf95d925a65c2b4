// The SIMD levels that this library holds and this machine can run.
#ifndef KERAS_COMPRESS_CSRC_KERNELS_DISPATCH_H_
#define KERAS_COMPRESS_CSRC_KERNELS_DISPATCH_H_

#include "integer_matmul.h"
#include "level_bits.h"
#include "low_rank_matmul.h"
#include "sparse_matmul.h"
#include "xnor_matmul.h"

namespace keras_compress {

// One SIMD level: a name and a table of functions for each kernel. Some kernels
// have a second table for CPUs of that level that can do more: the table is
// chosen by features, the level by its name.
struct Level {
  const char* name;
  const SparseKernels* sparse;
  const XnorKernels* xnor;
  const IntegerKernels* integer;
  LevelBitsKernel level_bits;
  const LowRankKernels* low_rank;
};

// The level in use: the fastest, unless KERAS_COMPRESS_SIMD or kc_set_level
// says otherwise.
const Level& ActiveLevel();

}  // namespace keras_compress

extern "C" {

int kc_num_levels();
// The name of a level, or null where there is none. Level 0 is `scalar`, the
// last one the fastest.
const char* kc_level_name(int level);
int kc_level();
// 0, or -1 where there is no such level.
int kc_set_level(int level);
// For tests: 0 keeps to what every CPU of a level can do, 1 is as at first.
void kc_use_extensions(int use);

}  // extern "C"

#endif  // KERAS_COMPRESS_CSRC_KERNELS_DISPATCH_H_
