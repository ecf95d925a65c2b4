// The products of packed signs behind checks, alone and in chains, on several
// threads: what TensorFlow's adapters and tests call.
#ifndef KERAS_COMPRESS_CSRC_KERNELS_XNOR_API_H_
#define KERAS_COMPRESS_CSRC_KERNELS_XNOR_API_H_

#include <stdint.h>

extern "C" {

// What was wrong; outputs may have been written to after KC_XNOR_NAN alone.
enum KcXnorResult {
  KC_XNOR_OK = 0,
  KC_XNOR_NAN = 1,      // an input is NaN, which has no sign
  KC_XNOR_MEMORY = 2,   // no room for the packed inputs
  KC_XNOR_ARGUMENT = 3  // a size, a kind or a pointer is out of range
};

// One product, see xnor_matmul.h. All but `signs`, `kept`, and for bits
// `thresholds` and `flips`, may be null.
struct KcXnorLayer {
  int64_t inputs;
  int64_t units;
  const uint32_t* signs;
  const uint32_t* masks;
  const int32_t* kept;
  const float* scale;
  const float* bias;
  const int32_t* thresholds;
  const uint32_t* flips;
  int64_t output;  // 0 floats, 1 sums, 2 bits
};

// Packs `rows` rows of `width` floats into words [rows][ceil(width / 32)].
int kc_xnor_pack(const float* inputs, int64_t rows, int64_t width,
                 uint32_t* words);

// The layers one after another; all but the last give bits. `packed` says what
// `inputs` are: 0 floats, 1 packed signs.
int kc_xnor_chain(const KcXnorLayer* layers, int64_t count, int packed,
                  const void* inputs, int64_t rows, void* outputs);

// A convolution of images [batch][height][width][channels], as floats, or with
// `packed` as words [batch][height][width][ceil(channels / 32)]. `geometry`
// holds the 14 numbers of ConvGeometry in their order. The layer's inputs are
// those of a window, its panels hold for each pixel of the window, row by row,
// ceil(channels / 32) words. What is beyond the edges is +1, and 0 with
// `zeros`.
int kc_xnor_conv2d(const KcXnorLayer* layer, const int64_t* geometry, int zeros,
                   int packed, const void* images, void* outputs);

// The maximum of signs in each window, and where a bit of `flips` [words] is
// set the minimum; what is beyond the edges does not count. `geometry` is as
// above, where channels are words and the kernel is the window.
int kc_xnor_pool(const uint32_t* images, const int64_t* geometry,
                 const uint32_t* flips, uint32_t* outputs);

}  // extern "C"

#endif  // KERAS_COMPRESS_CSRC_KERNELS_XNOR_API_H_
