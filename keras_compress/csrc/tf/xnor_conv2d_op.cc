// The ops KcXnorConv2D and KcPoolSigns: windows over images of signs.
#include "conv_attributes.h"
#include "register.h"
#include "xnor_inputs.h"

namespace keras_compress {
namespace {

struct Attributes {
  WindowAttributes window;
  int64_t channels;
  bool zeros;
};

void* Create(TF_OpKernelConstruction* construction) {
  Status status;
  Attributes* a = new Attributes();
  if (a->window.Read(construction, "kernel_size", &status)) {
    TF_OpKernelConstruction_GetAttrInt64(construction, "channels", &a->channels,
                                         status.get());
  }
  if (status.ok()) {
    char border[8] = "";  // "zeros" or "ones"
    TF_OpKernelConstruction_GetAttrString(construction, "border", border,
                                          sizeof(border), status.get());
    a->zeros = border[0] == 'z';
  }
  if (!status.ok()) {
    TF_OpKernelConstruction_Failure(construction, status.get());
  }
  return a;
}

void Delete(void* attributes) { delete static_cast<Attributes*>(attributes); }

// Whether images have so many channels, and the window a place.
bool Check(const Tensor& images, const Attributes& a, bool packed,
           int64_t* geometry, Status* status) {
  if (!images.CheckRank("inputs", 4, status)) return false;
  const int64_t last = packed ? (a.channels + 31) / 32 : a.channels;
  if (images.dim(3) != last) {
    return status->Invalid("`inputs` must have " + std::to_string(last) +
                           (packed ? " words" : " numbers") +
                           " in a pixel for " + std::to_string(a.channels) +
                           " channels. Received: shape " + images.shape());
  }
  a.window.Place(images, geometry);
  geometry[3] = a.channels;
  return a.window.Fits(images, geometry, status);
}

void Compute(void* kernel, TF_OpKernelContext* context) {
  const Attributes& a = *static_cast<Attributes*>(kernel);
  Status status;
  const Tensor images = Tensor::Input(context, 0, &status);
  const bool packed = TF_InputDatatype(context, 0) == TF_UINT32;
  const int64_t kind = XnorOutputKind(context);
  int64_t geometry[14];
  XnorInputs inputs(context);
  KcXnorLayer layer;
  const int64_t taps = a.window.window[0] * a.window.window[1];
  if (status.ok() && Check(images, a, packed, geometry, &status) &&
      inputs.Layer({1, 2, 3, 4, 5, 6, 7}, taps * a.channels,
                   taps * ((a.channels + 31) / 32),
                   std::to_string(taps) + " pixels of " +
                       std::to_string(a.channels) + " channels",
                   kind, &layer, &status)) {
    const bool bits = kind == XnorInputs::kBits;
    const int64_t dims[] = {geometry[0], geometry[12], geometry[13],
                            bits ? (layer.units + 31) / 32 : layer.units};
    const Tensor outputs = Tensor::Output(
        context, dims, 4, &status, TF_ExpectedOutputDataType(context, 0));
    if (status.ok()) {
      CheckXnorResult(kc_xnor_conv2d(&layer, geometry, a.zeros, packed,
                                     images.data<void>(), outputs.data<void>()),
                      images, &status);
    }
  }
  if (!status.ok()) TF_OpKernelContext_Failure(context, status.get());
}

void* CreatePool(TF_OpKernelConstruction* construction) {
  Status status;
  WindowAttributes* attributes = new WindowAttributes();
  if (!attributes->Read(construction, "pool_size", &status)) {
    TF_OpKernelConstruction_Failure(construction, status.get());
  }
  return attributes;
}

void DeletePool(void* attributes) {
  delete static_cast<WindowAttributes*>(attributes);
}

void ComputePool(void* kernel, TF_OpKernelContext* context) {
  const WindowAttributes& a = *static_cast<WindowAttributes*>(kernel);
  Status status;
  const Tensor words = Tensor::Input(context, 0, &status);
  XnorInputs inputs(context);
  if (status.ok() && words.CheckRank("inputs", 4, &status)) {
    int64_t geometry[14];
    a.Place(words, geometry);
    const Tensor* flips = inputs.Input(1, "flips", 1, words.dim(3), &status);
    if (flips != nullptr && a.Fits(words, geometry, &status)) {
      const int64_t dims[] = {geometry[0], geometry[12], geometry[13],
                              geometry[3]};
      const Tensor outputs =
          Tensor::Output(context, dims, 4, &status, TF_UINT32);
      if (status.ok()) {
        CheckXnorResult(
            kc_xnor_pool(words.data<uint32_t>(), geometry,
                         flips->data<uint32_t>(), outputs.data<uint32_t>()),
            words, &status);
      }
    }
  }
  if (!status.ok()) TF_OpKernelContext_Failure(context, status.get());
}

}  // namespace

void RegisterXnorConv2D() {
  TF_OpDefinitionBuilder* builder = TF_NewOpDefinitionBuilder("KcXnorConv2D");
  TF_OpDefinitionBuilderAddAttr(builder, "T: {float, uint32}");
  TF_OpDefinitionBuilderAddAttr(builder, "Tout: {float, int32, uint32}");
  TF_OpDefinitionBuilderAddInput(builder, "images: T");
  TF_OpDefinitionBuilderAddInput(builder, "signs: uint32");
  TF_OpDefinitionBuilderAddInput(builder, "masks: uint32");
  TF_OpDefinitionBuilderAddInput(builder, "kept: int32");
  TF_OpDefinitionBuilderAddInput(builder, "scale: float");
  TF_OpDefinitionBuilderAddInput(builder, "bias: float");
  TF_OpDefinitionBuilderAddInput(builder, "thresholds: int32");
  TF_OpDefinitionBuilderAddInput(builder, "flips: uint32");
  TF_OpDefinitionBuilderAddOutput(builder, "outputs: Tout");
  AddWindowAttributes(builder, "kernel_size");
  TF_OpDefinitionBuilderAddAttr(builder, "dilations: list(int) >= 2");
  TF_OpDefinitionBuilderAddAttr(builder, "border: {'zeros', 'ones'}");
  TF_OpDefinitionBuilderAddAttr(builder, "channels: int >= 1");
  TF_OpDefinitionBuilderSetShapeInferenceFunction(builder, InferWindows);
  RegisterOp(builder);
  RegisterCpuKernel("KcXnorConv2D", Create, Compute, Delete);
}

void RegisterPoolSigns() {
  TF_OpDefinitionBuilder* builder = TF_NewOpDefinitionBuilder("KcPoolSigns");
  TF_OpDefinitionBuilderAddInput(builder, "words: uint32");
  TF_OpDefinitionBuilderAddInput(builder, "flips: uint32");
  TF_OpDefinitionBuilderAddOutput(builder, "outputs: uint32");
  AddWindowAttributes(builder, "pool_size");
  TF_OpDefinitionBuilderSetShapeInferenceFunction(builder, InferWindows);
  RegisterOp(builder);
  RegisterCpuKernel("KcPoolSigns", CreatePool, ComputePool, DeletePool);
}

}  // namespace keras_compress
