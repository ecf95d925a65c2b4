// The sizes of a convolution of images.
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

}  // namespace keras_compress

#endif  // KERAS_COMPRESS_CSRC_KERNELS_CONV_GEOMETRY_H_
