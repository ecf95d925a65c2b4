// The op KcSparseConv2D: a convolution of NHWC images with a sparse kernel.
#include "../kernels/sparse_api.h"
#include "register.h"
#include "sparse_inputs.h"

namespace keras_compress {
namespace {

struct Attributes {
  int64_t kernel_size[2], strides[2], dilations[2];
  bool same;
};

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
  if (pair[0] < 1 || pair[1] < 1) {
    return status->Invalid(
        "`" + std::string(name) + "` must be two integers >= 1. Received: " +
        std::to_string(pair[0]) + ", " + std::to_string(pair[1]));
  }
  return true;
}

bool Read(TF_OpKernelConstruction* construction, Attributes* attributes,
          Status* status) {
  if (!ReadPair(construction, "kernel_size", attributes->kernel_size, status) ||
      !ReadPair(construction, "strides", attributes->strides, status) ||
      !ReadPair(construction, "dilations", attributes->dilations, status)) {
    return false;
  }
  char padding[8] = "";  // "same" or "valid": the definition allows no other
  TF_OpKernelConstruction_GetAttrString(construction, "padding", padding,
                                        sizeof(padding), status->get());
  attributes->same = padding[0] == 's';
  return status->ok();
}

void* Create(TF_OpKernelConstruction* construction) {
  Status status;
  Attributes* attributes = new Attributes();
  if (!Read(construction, attributes, &status)) {
    TF_OpKernelConstruction_Failure(construction, status.get());
  }
  return attributes;
}

void Delete(void* attributes) { delete static_cast<Attributes*>(attributes); }

// Output size and padding before the first pixel, as TensorFlow has them.
void Pad(bool same, int64_t size, int64_t kernel, int64_t stride,
         int64_t dilation, int64_t* out, int64_t* before) {
  const int64_t reach = (kernel - 1) * dilation + 1;
  if (same) {
    *out = (size + stride - 1) / stride;
    const int64_t padding = (*out - 1) * stride + reach - size;
    *before = padding > 0 ? padding / 2 : 0;
  } else {
    *out = size < reach ? 0 : (size - reach) / stride + 1;
    *before = 0;
  }
}

void Compute(void* kernel, TF_OpKernelContext* context) {
  const Attributes& a = *static_cast<Attributes*>(kernel);
  Status status;
  const SparseInputs sparse(context, &status);
  if (sparse.Check(4, &status)) {
    const Tensor& inputs = sparse.inputs;
    int64_t geometry[14] = {inputs.dim(0), inputs.dim(1),    inputs.dim(2),
                            inputs.dim(3), a.kernel_size[0], a.kernel_size[1],
                            a.strides[0],  a.strides[1],     a.dilations[0],
                            a.dilations[1]};
    int64_t dims[] = {inputs.dim(0), 0, 0, sparse.units()};
    for (int i = 0; i < 2; ++i) {
      Pad(a.same, inputs.dim(1 + i), a.kernel_size[i], a.strides[i],
          a.dilations[i], &dims[1 + i], &geometry[10 + i]);
      geometry[12 + i] = dims[1 + i];
    }
    const Tensor outputs = Tensor::Output(context, dims, 4, &status);
    if (status.ok()) {
      const int result =
          kc_sparse_conv2d(inputs.data<float>(), geometry, sparse.units(),
                           sparse.values.data<float>(),
                           sparse.indices.data<void>(), sparse.index_bytes,
                           sparse.values.dim(0), sparse.starts.data<int32_t>(),
                           sparse.bias.data<float>(), outputs.data<float>());
      CheckResult(result, sparse,
                  a.kernel_size[0] * a.kernel_size[1] * inputs.dim(3), &status);
    }
  }
  if (!status.ok()) TF_OpKernelContext_Failure(context, status.get());
}

// Shape functions of the C API see no attributes but types, so that the size of
// the outputs is for the Python wrapper to say.
void Infer(TF_ShapeInferenceContext* context, TF_Status* status) {
  Shape inputs;
  TF_ShapeInferenceContextGetInput(context, 0, inputs.get(), status);
  if (TF_GetCode(status) != TF_OK) return;
  TF_ShapeInferenceContextWithRank(context, inputs.get(), 4, inputs.get(),
                                   status);
  if (TF_GetCode(status) != TF_OK) return;
  TF_ShapeInferenceContextSetUnknownShape(context, status);
}

}  // namespace

void RegisterSparseConv2D() {
  TF_OpDefinitionBuilder* builder = TF_NewOpDefinitionBuilder("KcSparseConv2D");
  AddSparseInputs(builder);
  TF_OpDefinitionBuilderAddAttr(builder, "kernel_size: list(int) >= 2");
  TF_OpDefinitionBuilderAddAttr(builder, "strides: list(int) >= 2");
  TF_OpDefinitionBuilderAddAttr(builder, "dilations: list(int) >= 2");
  TF_OpDefinitionBuilderAddAttr(builder, "padding: {'same', 'valid'}");
  TF_OpDefinitionBuilderSetShapeInferenceFunction(builder, Infer);
  RegisterOp(builder);
  RegisterSparseKernel("KcSparseConv2D", Create, Compute, Delete);
}

}  // namespace keras_compress
