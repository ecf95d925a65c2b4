// The op KcLowRankMatmul: dense rows times two factors in panels.
#include "../kernels/low_rank_api.h"
#include "op_context.h"
#include "register.h"
#include "rows_shape.h"

namespace keras_compress {
namespace {

struct Attributes {
  int64_t rank = 0;
  int64_t relu = 0;
};

void* Create(TF_OpKernelConstruction* construction) {
  Status status;
  Attributes* a = new Attributes();
  TF_OpKernelConstruction_GetAttrInt64(construction, "rank", &a->rank,
                                       status.get());
  if (status.ok()) {
    TF_OpKernelConstruction_GetAttrInt64(construction, "relu", &a->relu,
                                         status.get());
  }
  if (!status.ok()) {
    TF_OpKernelConstruction_Failure(construction, status.get());
  }
  return a;
}

void Delete(void* attributes) { delete static_cast<Attributes*>(attributes); }

// Whether a factor is as long as its panels.
bool CheckFactor(const Tensor& factor, const char* name, int64_t inputs,
                 int64_t outputs, Status* status) {
  if (!factor.CheckRank(name, 1, status)) return false;
  const int64_t length = inputs * outputs;
  if (factor.dim(0) == length) return true;
  return status->Invalid(
      "`" + std::string(name) + "` must be of length " +
      std::to_string(length) + " for panels of " + std::to_string(inputs) +
      " x " + std::to_string(outputs) + ". Received: shape " + factor.shape());
}

void Compute(void* kernel, TF_OpKernelContext* context) {
  const Attributes& a = *static_cast<Attributes*>(kernel);
  Status status;
  const Tensor rows = Tensor::Input(context, 0, &status);
  const Tensor left = Tensor::Input(context, 1, &status);
  const Tensor right = Tensor::Input(context, 2, &status);
  const Tensor bias = Tensor::Input(context, 3, &status);
  if (status.ok() && rows.CheckRank("inputs", 2, &status) &&
      bias.CheckRank("bias", 1, &status) &&
      CheckFactor(left, "left", rows.dim(1), a.rank, &status) &&
      CheckFactor(right, "right", a.rank, bias.dim(0), &status)) {
    const int64_t dims[] = {rows.dim(0), bias.dim(0)};
    const KcLowRankProduct product = {rows.dim(1),  a.rank,
                                      dims[1],      left.data<float>(),
                                      left.dim(0),  right.data<float>(),
                                      right.dim(0), bias.data<float>(),
                                      a.relu};
    const Tensor outputs = Tensor::Output(context, dims, 2, &status);
    if (status.ok()) {
      const int result = kc_low_rank_matmul(&product, rows.data<float>(),
                                            dims[0], outputs.data<float>());
      if (result == KC_LOW_RANK_MEMORY) {
        TF_SetStatus(status.get(), TF_RESOURCE_EXHAUSTED,
                     "No memory between the products of a low-rank layer");
      } else if (result != KC_LOW_RANK_OK) {
        status.Invalid("A size of a low-rank product is out of range");
      }
    }
  }
  if (!status.ok()) TF_OpKernelContext_Failure(context, status.get());
}

// As many units as the bias has.
void Infer(TF_ShapeInferenceContext* context, TF_Status* status) {
  InferRows(context, 3, status);
}

}  // namespace

void RegisterLowRankMatmul() {
  TF_OpDefinitionBuilder* builder =
      TF_NewOpDefinitionBuilder("KcLowRankMatmul");
  TF_OpDefinitionBuilderAddAttr(builder, "rank: int >= 0");
  TF_OpDefinitionBuilderAddAttr(builder, "relu: int = 0");
  TF_OpDefinitionBuilderAddInput(builder, "inputs: float");
  TF_OpDefinitionBuilderAddInput(builder, "left: float");
  TF_OpDefinitionBuilderAddInput(builder, "right: float");
  TF_OpDefinitionBuilderAddInput(builder, "bias: float");
  TF_OpDefinitionBuilderAddOutput(builder, "outputs: float");
  TF_OpDefinitionBuilderSetShapeInferenceFunction(builder, Infer);
  RegisterOp(builder);
  RegisterCpuKernel("KcLowRankMatmul", Create, Compute, Delete);
}

}  // namespace keras_compress
