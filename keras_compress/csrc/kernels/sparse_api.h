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
  KC_SPARSE_STARTS = 1,    // not from 0, falling, or not ending at the end
  KC_SPARSE_INDICES = 2,   // an index is not in [0, inputs), or of the block
  KC_SPARSE_MEMORY = 3,    // no room for the panel of inputs
  KC_SPARSE_ARGUMENT = 4,  // a size is negative, or does not fit the others
  KC_SPARSE_WINDOWS = 5,   // a window begins after the inputs
  KC_SPARSE_ORDER = 6,     // not every number below the length once
  KC_SPARSE_SEGMENTS = 7   // a place outside the chunk or twice in a block, a
                           // length that is more than the one before, or their
                           // sum is not the end
};

// The weights of sparse_matmul.h with the lengths of their arrays; what a
// layout does not have is of length 0.
struct KcSparseMatrix {
  int64_t layout, inputs, units;
  const float* values;
  int64_t value_count;
  const void* indices;
  int64_t index_bytes, index_count;
  const int32_t* starts;
  int64_t start_count;
  const uint16_t* windows;
  int64_t window_count;
  const int32_t* order;
  int64_t order_count;
  const uint8_t* segments;
  int64_t segment_bytes;
  const float* bias;  // [units]
};

int kc_sparse_matmul(const KcSparseMatrix* matrix, const float* inputs,
                     int64_t rows, float* outputs);

// `geometry` holds the 14 numbers of ConvGeometry in their order; the inputs of
// the matrix are those of a patch.
int kc_sparse_conv2d(const KcSparseMatrix* matrix, const int64_t* geometry,
                     const float* inputs, float* outputs);

}  // extern "C"

#endif  // KERAS_COMPRESS_CSRC_KERNELS_SPARSE_API_H_
