// The sparse kernels behind checks: what TensorFlow's adapters and tests call.
#ifndef KERAS_COMPRESS_CSRC_KERNELS_SPARSE_API_H_
#define KERAS_COMPRESS_CSRC_KERNELS_SPARSE_API_H_

#include <stdint.h>

#include "sparse_matmul.h"

extern "C" {

// What was wrong with the weights; nothing was read or written out of bounds,
// and the outputs were not touched.
enum KcSparseResult {
  KC_SPARSE_OK = 0,
  KC_SPARSE_STARTS = 1,   // not from 0, falling, or not ending at `kept`
  KC_SPARSE_INDICES = 2,  // an index is not in [0, inputs)
  KC_SPARSE_MEMORY = 3,   // no room for the panel of inputs
  KC_SPARSE_ARGUMENT = 4  // a size is negative, or index_bytes not 2 or 4
};

// `kept` is the length of values and of indices. See sparse_matmul.h.
int kc_sparse_matmul(const float* inputs, int64_t rows, int64_t input_dim,
                     int64_t units, const float* values, const void* indices,
                     int index_bytes, int64_t kept, const int32_t* starts,
                     const float* bias, float* outputs);

// `geometry` holds the 14 numbers of ConvGeometry in their order.
int kc_sparse_conv2d(const float* inputs, const int64_t* geometry,
                     int64_t units, const float* values, const void* indices,
                     int index_bytes, int64_t kept, const int32_t* starts,
                     const float* bias, float* outputs);

}  // extern "C"

#endif  // KERAS_COMPRESS_CSRC_KERNELS_SPARSE_API_H_
