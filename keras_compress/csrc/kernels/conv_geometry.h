// The sizes of a convolution of images, and what they follow from.
#ifndef KERAS_COMPRESS_CSRC_KERNELS_CONV_GEOMETRY_H_
#define KERAS_COMPRESS_CSRC_KERNELS_CONV_GEOMETRY_H_

#include <stdint.h>

namespace keras_compress {

// Images [batch][height][width][channels]; the kernel reads the input pixel
// (y * stride - padding + i * dilation) for output pixel y and kernel row i.
struct ConvGeometry {
  int64_t batch, height, width, channels;
  int64_t kernel_height, kernel_width;
  int64_t stride_height, stride_width;
  int64_t dilation_height, dilation_width;
  int64_t pad_top, pad_left;
  int64_t out_height, out_width;

  // From the 14 numbers in this order.
  static ConvGeometry Of(const int64_t* n) {
    return {n[0], n[1], n[2], n[3],  n[4],  n[5],  n[6],
            n[7], n[8], n[9], n[10], n[11], n[12], n[13]};
  }
  // Whether sizes can be sizes.
  bool Valid() const {
    return batch >= 0 && height >= 0 && width >= 0 && channels >= 0 &&
           kernel_height >= 1 && kernel_width >= 1 && stride_height >= 1 &&
           stride_width >= 1 && dilation_height >= 1 && dilation_width >= 1 &&
           pad_top >= 0 && pad_left >= 0 && out_height >= 0 && out_width >= 0;
  }
};

// A window that moves over images of any size, height before width.
struct ConvWindow {
  int64_t window[2], strides[2];
  int64_t dilations[2] = {1, 1};
  bool same;  // outputs wherever the first pixel of a step is, not only inside

  int64_t Reach(int axis) const {
    return (window[axis] - 1) * dilations[axis] + 1;
  }

  // The 14 numbers of ConvGeometry for images [batch][height][width][channels]:
  // sizes of the outputs and padding are as TensorFlow has them.
  void Place(const int64_t* images, int64_t* geometry) const {
    for (int i = 0; i < 4; ++i) geometry[i] = images[i];
    for (int i = 0; i < 2; ++i) {
      const int64_t size = images[1 + i];
      const int64_t padding =
          (size - 1) / strides[i] * strides[i] + Reach(i) - size;
      geometry[4 + i] = window[i];
      geometry[6 + i] = strides[i];
      geometry[8 + i] = dilations[i];
      geometry[10 + i] = same && size > 0 && padding > 0 ? padding / 2 : 0;
      geometry[12 + i] = same ? (size + strides[i] - 1) / strides[i]
                         : size < Reach(i) ? 0
                                           : (size - Reach(i)) / strides[i] + 1;
    }
  }

  // Whether it has a place along an axis of images that have pixels.
  static bool Fits(const int64_t* geometry, int axis) {
    return geometry[1 + axis] == 0 || geometry[12 + axis] > 0;
  }
};

}  // namespace keras_compress

#endif  // KERAS_COMPRESS_CSRC_KERNELS_CONV_GEOMETRY_H_
