// The op KcPackSigns: rows of floats to rows of packed signs.
#include "register.h"
#include "xnor_inputs.h"

namespace keras_compress {
namespace {

void Compute(void*, TF_OpKernelContext* context) {
  Status status;
  const Tensor inputs = Tensor::Input(context, 0, &status);
  if (status.ok() && inputs.CheckRank("inputs", 2, &status)) {
    const int64_t dims[] = {inputs.dim(0), (inputs.dim(1) + 31) / 32};
    const Tensor words = Tensor::Output(context, dims, 2, &status, TF_UINT32);
    if (status.ok()) {
      CheckXnorResult(kc_xnor_pack(inputs.data<float>(), inputs.dim(0),
                                   inputs.dim(1), words.data<uint32_t>()),
                      inputs, &status);
    }
  }
  if (!status.ok()) TF_OpKernelContext_Failure(context, status.get());
}

// [rows, ceil(width / 32)] where the width is known.
void Infer(TF_ShapeInferenceContext* context, TF_Status* status) {
  Shape inputs, rows, outputs;
  TF_ShapeInferenceContextGetInput(context, 0, inputs.get(), status);
  if (TF_GetCode(status) != TF_OK) return;
  TF_ShapeInferenceContextWithRank(context, inputs.get(), 2, inputs.get(),
                                   status);
  if (TF_GetCode(status) != TF_OK) return;
  TF_DimensionHandle* width = TF_NewDimensionHandle();
  TF_ShapeInferenceContextDim(context, inputs.get(), 1, width);
  const bool known = TF_DimensionHandleValueKnown(width);
  const int64_t signs = known ? TF_DimensionHandleValue(width) : 0;
  TF_DeleteDimensionHandle(width);
  if (!known) {
    TF_ShapeInferenceContextSetUnknownShape(context, status);
    return;
  }
  TF_ShapeInferenceContextSubshape(context, inputs.get(), 0, 1, rows.get(),
                                   status);
  if (TF_GetCode(status) != TF_OK) return;
  const Shape words(TF_ShapeInferenceContextVectorFromSize(
      context, static_cast<size_t>((signs + 31) / 32)));
  TF_ShapeInferenceContextConcatenateShapes(context, rows.get(), words.get(),
                                            outputs.get(), status);
  if (TF_GetCode(status) != TF_OK) return;
  TF_ShapeInferenceContextSetOutput(context, 0, outputs.get(), status);
}

}  // namespace

void RegisterPackSigns() {
  TF_OpDefinitionBuilder* builder = TF_NewOpDefinitionBuilder("KcPackSigns");
  TF_OpDefinitionBuilderAddInput(builder, "inputs: float");
  TF_OpDefinitionBuilderAddOutput(builder, "words: uint32");
  TF_OpDefinitionBuilderSetShapeInferenceFunction(builder, Infer);
  RegisterOp(builder);
  RegisterCpuKernel("KcPackSigns", nullptr, Compute, nullptr);
}

}  // namespace keras_compress
