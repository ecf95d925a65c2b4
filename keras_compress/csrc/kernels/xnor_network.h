// Whole networks of packed signs: products, convolutions, poolings and borders
// one after another, which hand each other bits.
#ifndef KERAS_COMPRESS_CSRC_KERNELS_XNOR_NETWORK_H_
#define KERAS_COMPRESS_CSRC_KERNELS_XNOR_NETWORK_H_

#include <stdint.h>

#include "xnor_api.h"

extern "C" {

enum KcXnorStageKind {
  KC_XNOR_PRODUCT = 0,      // of the channels of every pixel
  KC_XNOR_CONVOLUTION = 1,  // as kc_xnor_conv2d
  KC_XNOR_POOLING = 2,      // as kc_xnor_pool
  KC_XNOR_BORDER = 3,       // pixels of +1 around images
  KC_XNOR_FLATTEN = 4       // an image becomes one pixel
};

// Numbers that a kind does not have are of no matter.
struct KcXnorStage {
  int64_t kind;
  KcXnorLayer layer;  // of a pooling, `flips` alone
  int64_t channels;   // of a convolution; of a pooling, words
  int64_t window[2];  // height, width
  int64_t strides[2];
  int64_t dilations[2];
  int64_t same;       // outputs at the edges, too, as TensorFlow has it
  int64_t zeros;      // what is beyond the edges of a convolution: +1, or 0
  int64_t border[4];  // top, bottom, left, right
};

// Finds the sizes [batch, height, width, last] of what a network makes of
// images of such sizes. Rows are images of one pixel. The last size counts
// channels, or with `packed`, and where the last stage gives bits, words. The
// result is -1, or which stage is wrong or does not follow the one before it.
int64_t kc_xnor_network_sizes(const KcXnorStage* stages, int64_t count,
                              int packed, const int64_t* images,
                              int64_t* outputs);

// Runs a network. A product or convolution that is not the last stage gives
// bits; only these take floats; the last stage is no KC_XNOR_FLATTEN.
int kc_xnor_network(const KcXnorStage* stages, int64_t count, int packed,
                    const void* inputs, const int64_t* images, void* outputs);

}  // extern "C"

#endif  // KERAS_COMPRESS_CSRC_KERNELS_XNOR_NETWORK_H_
