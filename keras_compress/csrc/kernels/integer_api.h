// The integer product behind checks, on several threads: what TensorFlow's
// adapter and tests call.
#ifndef KERAS_COMPRESS_CSRC_KERNELS_INTEGER_API_H_
#define KERAS_COMPRESS_CSRC_KERNELS_INTEGER_API_H_

#include <stdint.h>

extern "C" {

// What was wrong; outputs may have been written to after none but
// KC_INTEGER_OK.
enum KcIntegerResult {
  KC_INTEGER_OK = 0,
  KC_INTEGER_NAN = 1,      // a float is NaN, which is no integer
  KC_INTEGER_MEMORY = 2,   // no room for the prepared rows
  KC_INTEGER_ARGUMENT = 3  // a size, a kind, a shift or a pointer is wrong
};

// One product, see integer_matmul.h.
struct KcIntegerProduct {
  int64_t inputs;
  int64_t units;
  int64_t bits;  // of weights: 16, 8 or 4
  const int8_t* panels;
  const int32_t* column_sums;
  const int32_t* bias;
  int64_t row_kind;
  int64_t fraction;  // floats times 2^fraction are rounded
  int64_t low, high, rounding;
  int64_t output_kind;
  int64_t requantize;
  int64_t output_low, output_high, output_rounding;
  const int32_t* shifts;
  const float* scales;
  int64_t blocks;  // how many, of weights in blocks; of others, no starts
  const uint16_t* indices;
  const int32_t* starts;
};

int kc_integer_matmul(const KcIntegerProduct* product, const void* rows,
                      int64_t count, void* outputs);

}  // extern "C"

#endif  // KERAS_COMPRESS_CSRC_KERNELS_INTEGER_API_H_
