// The op KcSparseConv2D: a convolution of NHWC images with a sparse kernel.
#include "conv_attributes.h"
#include "register.h"
#include "sparse_inputs.h"

namespace keras_compress {
namespace {

struct Attributes {
  WindowAttributes window;
  int64_t layout;
};

void* Create(TF_OpKernelConstruction* construction) {
  Status status;
  Attributes* attributes = new Attributes();
  if (!attributes->window.Read(construction, "kernel_size", &status) ||
      !ReadLayout(construction, &attributes->layout, &status)) {
    TF_OpKernelConstruction_Failure(construction, status.get());
  }
  return attributes;
}

void Delete(void* attributes) { delete static_cast<Attributes*>(attributes); }

void Compute(void* kernel, TF_OpKernelContext* context) {
  const Attributes& a = *static_cast<Attributes*>(kernel);
  Status status;
  SparseInputs sparse(context, a.layout, &status);
  const Tensor& images = sparse.inputs;
  if (status.ok() && images.CheckRank("inputs", 4, &status) &&
      sparse.Check(a.window.window[0] * a.window.window[1] * images.dim(3),
                   &status)) {
    int64_t geometry[14];
    a.window.Place(images, geometry);
    if (!a.window.Fits(images, geometry, &status)) {
      TF_OpKernelContext_Failure(context, status.get());
      return;
    }
    const int64_t dims[] = {geometry[0], geometry[12], geometry[13],
                            sparse.units()};
    const Tensor outputs = Tensor::Output(context, dims, 4, &status);
    if (status.ok()) {
      const int result =
          kc_sparse_conv2d(&sparse.matrix(), geometry, images.data<float>(),
                           outputs.data<float>());
      sparse.CheckResult(result, &status);
    }
  }
  if (!status.ok()) TF_OpKernelContext_Failure(context, status.get());
}

}  // namespace

void RegisterSparseConv2D() {
  TF_OpDefinitionBuilder* builder = TF_NewOpDefinitionBuilder("KcSparseConv2D");
  AddSparseInputs(builder);
  AddWindowAttributes(builder, "kernel_size");
  TF_OpDefinitionBuilderAddAttr(builder, "dilations: list(int) >= 2");
  TF_OpDefinitionBuilderSetShapeInferenceFunction(builder, InferWindows);
  RegisterOp(builder);
  RegisterCpuKernel("KcSparseConv2D", Create, Compute, Delete);
}

}  // namespace keras_compress
