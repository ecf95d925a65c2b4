// The low-rank product behind checks, on several threads: what TensorFlow's
// adapter and tests call.
#ifndef KERAS_COMPRESS_CSRC_KERNELS_LOW_RANK_API_H_
#define KERAS_COMPRESS_CSRC_KERNELS_LOW_RANK_API_H_

#include <stdint.h>

extern "C" {

// What was wrong; nothing was written then.
enum KcLowRankResult {
  KC_LOW_RANK_OK = 0,
  KC_LOW_RANK_MEMORY = 1,   // no room for what is between the two products
  KC_LOW_RANK_ARGUMENT = 2  // a size or a length is wrong
};

// act(x @ left @ right + bias), both factors in panels, see low_rank_matmul.h.
struct KcLowRankProduct {
  int64_t inputs;
  int64_t rank;
  int64_t units;
  const float* left;    // [inputs][rank]
  int64_t left_count;   // floats
  const float* right;   // [rank][units]
  int64_t right_count;  // floats
  const float* bias;    // [units]
  int64_t relu;         // 0 or 1
};

int kc_low_rank_matmul(const KcLowRankProduct* product, const float* rows,
                       int64_t count, float* outputs);

}  // extern "C"

#endif  // KERAS_COMPRESS_CSRC_KERNELS_LOW_RANK_API_H_
