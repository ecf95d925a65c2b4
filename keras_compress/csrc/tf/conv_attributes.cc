// Reads the attributes of a window.
#include "conv_attributes.h"

#include <string.h>

namespace keras_compress {
namespace {

bool ReadPair(TF_OpKernelConstruction* construction, const char* name,
              int64_t* pair, Status* status) {
  int32_t length = 0;
  int32_t unused = 0;
  TF_OpKernelConstruction_GetAttrSize(construction, name, &length, &unused,
                                      status->get());
  if (!status->ok()) return false;
  if (length != 2) {
    return status->Invalid(
        "`" + std::string(name) +
        "` must be two integers. Received: " + std::to_string(length));
  }
  TF_OpKernelConstruction_GetAttrInt64List(construction, name, pair, 2,
                                           status->get());
  if (!status->ok()) return false;
  if (pair[0] < 1 || pair[1] < 1 || pair[0] > INT32_MAX ||
      pair[1] > INT32_MAX) {
    return status->Invalid("`" + std::string(name) +
                           "` must be two integers in [1, 2^31). Received: " +
                           std::to_string(pair[0]) + ", " +
                           std::to_string(pair[1]));
  }
  return true;
}

}  // namespace

bool WindowAttributes::Read(TF_OpKernelConstruction* construction,
                            const char* name, Status* status) {
  if (!ReadPair(construction, name, window, status) ||
      !ReadPair(construction, "strides", strides, status)) {
    return false;
  }
  // So that the numbers in a window can be counted.
  if (window[0] * window[1] > INT32_MAX) {
    return status->Invalid("`" + std::string(name) +
                           "` must be a window of less than 2^31 pixels");
  }
  if (strcmp(name, "kernel_size") == 0 &&
      !ReadPair(construction, "dilations", dilations, status)) {
    return false;
  }
  char padding[8] = "";  // "same" or "valid": the definition allows no other
  TF_OpKernelConstruction_GetAttrString(construction, "padding", padding,
                                        sizeof(padding), status->get());
  same = padding[0] == 's';
  return status->ok();
}

void WindowAttributes::Place(const Tensor& images, int64_t* geometry) const {
  const int64_t dims[] = {images.dim(0), images.dim(1), images.dim(2),
                          images.dim(3)};
  ConvWindow::Place(dims, geometry);
}

bool WindowAttributes::Fits(const Tensor& images, const int64_t* geometry,
                            Status* status) const {
  for (int i = 0; i < 2; ++i) {
    if (ConvWindow::Fits(geometry, i)) continue;
    return status->Invalid(
        "`inputs` must be at least " + std::to_string(Reach(i)) + " pixels " +
        (i == 0 ? "high" : "wide") + " for this window. Received: shape " +
        images.shape());
  }
  return true;
}

void AddWindowAttributes(TF_OpDefinitionBuilder* builder, const char* name) {
  const std::string window = std::string(name) + ": list(int) >= 2";
  TF_OpDefinitionBuilderAddAttr(builder, window.c_str());
  TF_OpDefinitionBuilderAddAttr(builder, "strides: list(int) >= 2");
  TF_OpDefinitionBuilderAddAttr(builder, "padding: {'same', 'valid'}");
}

void InferWindows(TF_ShapeInferenceContext* context, TF_Status* status) {
  Shape images;
  TF_ShapeInferenceContextGetInput(context, 0, images.get(), status);
  if (TF_GetCode(status) != TF_OK) return;
  TF_ShapeInferenceContextWithRank(context, images.get(), 4, images.get(),
                                   status);
  if (TF_GetCode(status) != TF_OK) return;
  TF_ShapeInferenceContextSetUnknownShape(context, status);
}

}  // namespace keras_compress
