// The op KcSparseConv2D: a convolution of NHWC images with a sparse kernel.
#include "../kernels/sparse_api.h"
#include "conv_attributes.h"
#include "register.h"
#include "sparse_inputs.h"

namespace keras_compress {
namespace {

void* Create(TF_OpKernelConstruction* construction) {
  Status status;
  WindowAttributes* attributes = new WindowAttributes();
  if (!attributes->Read(construction, "kernel_size", &status)) {
    TF_OpKernelConstruction_Failure(construction, status.get());
  }
  return attributes;
}

void Delete(void* attributes) {
  delete static_cast<WindowAttributes*>(attributes);
}

void Compute(void* kernel, TF_OpKernelContext* context) {
  const WindowAttributes& a = *static_cast<WindowAttributes*>(kernel);
  Status status;
  const SparseInputs sparse(context, &status);
  if (sparse.Check(4, &status)) {
    const Tensor& inputs = sparse.inputs;
    int64_t geometry[14];
    a.Place(inputs, geometry);
    const int64_t dims[] = {geometry[0], geometry[12], geometry[13],
                            sparse.units()};
    const Tensor outputs = Tensor::Output(context, dims, 4, &status);
    if (status.ok()) {
      const int result =
          kc_sparse_conv2d(inputs.data<float>(), geometry, sparse.units(),
                           sparse.values.data<float>(),
                           sparse.indices.data<void>(), sparse.index_bytes,
                           sparse.values.dim(0), sparse.starts.data<int32_t>(),
                           sparse.bias.data<float>(), outputs.data<float>());
      CheckResult(result, sparse, a.window[0] * a.window[1] * inputs.dim(3),
                  &status);
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
  RegisterSparseKernel("KcSparseConv2D", Create, Compute, Delete);
}

}  // namespace keras_compress
