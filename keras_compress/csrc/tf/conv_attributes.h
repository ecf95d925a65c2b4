// What the ops that move a window over images have in common.
#ifndef KERAS_COMPRESS_CSRC_TF_CONV_ATTRIBUTES_H_
#define KERAS_COMPRESS_CSRC_TF_CONV_ATTRIBUTES_H_

#include "../kernels/conv_geometry.h"
#include "op_context.h"

namespace keras_compress {

struct WindowAttributes : ConvWindow {
  // `name` is the attribute for the window's size; only a kernel is dilated.
  bool Read(TF_OpKernelConstruction* construction, const char* name,
            Status* status);

  // The 14 numbers of ConvGeometry for images of rank 4.
  void Place(const Tensor& images, int64_t* geometry) const;

  // Whether the window has a place in images that have pixels.
  bool Fits(const Tensor& images, const int64_t* geometry,
            Status* status) const;
};

// The window's size, strides and padding, as attributes of an op.
void AddWindowAttributes(TF_OpDefinitionBuilder* builder, const char* name);

// Shape functions of the C API see no attributes but types, so that the size of
// the outputs is for the Python wrapper to say.
void InferWindows(TF_ShapeInferenceContext* context, TF_Status* status);

}  // namespace keras_compress

#endif  // KERAS_COMPRESS_CSRC_TF_CONV_ATTRIBUTES_H_
