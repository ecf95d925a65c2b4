// The op KcLevelBits: numbers to the words of their levels.
#include "../kernels/level_bits.h"
#include "op_context.h"
#include "register.h"

namespace keras_compress {
namespace {

bool Check(const Tensor& inputs, const Tensor& limits, const Tensor& words,
           Status* status) {
  if (!inputs.CheckRank("inputs", 1, status) ||
      !limits.CheckRank("limits", 1, status) ||
      !words.CheckRank("words", 2, status)) {
    return false;
  }
  if (words.dim(0) == limits.dim(0) + 2 && words.dim(1) >= 1) return true;
  return status->Invalid(
      "`words` must have a row for each of " +
      std::to_string(limits.dim(0) + 1) +
      " levels and one for NaN, of one number or more. Received: shape " +
      words.shape());
}

void Compute(void*, TF_OpKernelContext* context) {
  Status status;
  const Tensor inputs = Tensor::Input(context, 0, &status);
  const Tensor limits = Tensor::Input(context, 1, &status);
  const Tensor words = Tensor::Input(context, 2, &status);
  if (status.ok() && Check(inputs, limits, words, &status)) {
    const int64_t dims[] = {inputs.dim(0), words.dim(1)};
    const Tensor outputs = Tensor::Output(context, dims, 2, &status);
    if (status.ok() &&
        kc_level_bits(inputs.data<float>(), dims[0], limits.data<float>(),
                      limits.dim(0), words.data<float>(), dims[1],
                      outputs.data<float>()) != 0) {
      status.Invalid("`limits` must be fewer than 2^31");
    }
  }
  if (!status.ok()) TF_OpKernelContext_Failure(context, status.get());
}

// [numbers, length of a word].
void Infer(TF_ShapeInferenceContext* context, TF_Status* status) {
  Shape inputs, words, length, outputs;
  TF_ShapeInferenceContextGetInput(context, 0, inputs.get(), status);
  if (TF_GetCode(status) != TF_OK) return;
  TF_ShapeInferenceContextWithRank(context, inputs.get(), 1, inputs.get(),
                                   status);
  if (TF_GetCode(status) != TF_OK) return;
  TF_ShapeInferenceContextGetInput(context, 2, words.get(), status);
  if (TF_GetCode(status) != TF_OK) return;
  TF_ShapeInferenceContextWithRank(context, words.get(), 2, words.get(),
                                   status);
  if (TF_GetCode(status) != TF_OK) return;
  TF_ShapeInferenceContextSubshape(context, words.get(), 1, 2, length.get(),
                                   status);
  if (TF_GetCode(status) != TF_OK) return;
  TF_ShapeInferenceContextConcatenateShapes(context, inputs.get(), length.get(),
                                            outputs.get(), status);
  if (TF_GetCode(status) != TF_OK) return;
  TF_ShapeInferenceContextSetOutput(context, 0, outputs.get(), status);
}

}  // namespace

void RegisterLevelBits() {
  TF_OpDefinitionBuilder* builder = TF_NewOpDefinitionBuilder("KcLevelBits");
  TF_OpDefinitionBuilderAddInput(builder, "inputs: float");
  TF_OpDefinitionBuilderAddInput(builder, "limits: float");
  TF_OpDefinitionBuilderAddInput(builder, "words: float");
  TF_OpDefinitionBuilderAddOutput(builder, "outputs: float");
  TF_OpDefinitionBuilderSetShapeInferenceFunction(builder, Infer);
  RegisterOp(builder);
  RegisterCpuKernel("KcLevelBits", nullptr, Compute, nullptr);
}

}  // namespace keras_compress
