// Reads and checks the inputs of the sparse ops.
#include "sparse_inputs.h"

#include <stdio.h>

#include "../kernels/sparse_api.h"

namespace keras_compress {
namespace {

// The first column whose start is wrong, said in words.
std::string WrongStart(const SparseInputs& sparse) {
  const int32_t* starts = sparse.starts.data<int32_t>();
  const int64_t units = sparse.units();
  if (starts[0] != 0) return "starts[0]=" + std::to_string(starts[0]);
  for (int64_t n = 0; n < units; ++n) {
    if (starts[n + 1] < starts[n]) {
      return "starts[" + std::to_string(n) + "]=" + std::to_string(starts[n]) +
             " and starts[" + std::to_string(n + 1) +
             "]=" + std::to_string(starts[n + 1]);
    }
  }
  return "starts[" + std::to_string(units) +
         "]=" + std::to_string(starts[units]);
}

// The first index that is wrong, said in words.
std::string WrongIndex(const SparseInputs& sparse, int64_t input_dim) {
  for (int64_t p = 0; p < sparse.indices.dim(0); ++p) {
    const int64_t index = sparse.index_bytes == 2
                              ? int64_t{sparse.indices.data<uint16_t>()[p]}
                              : int64_t{sparse.indices.data<int32_t>()[p]};
    if (index < 0 || index >= input_dim) {
      return "indices[" + std::to_string(p) + "]=" + std::to_string(index);
    }
  }
  return "an index that changed while it was read";
}

}  // namespace

SparseInputs::SparseInputs(TF_OpKernelContext* context, Status* status)
    : inputs(Tensor::Input(context, 0, status)),
      values(Tensor::Input(context, 1, status)),
      indices(Tensor::Input(context, 2, status)),
      starts(Tensor::Input(context, 3, status)),
      bias(Tensor::Input(context, 4, status)),
      index_bytes(TF_InputDatatype(context, 2) == TF_UINT16 ? 2 : 4) {}

bool SparseInputs::Check(int input_rank, Status* status) const {
  if (!status->ok() || !inputs.CheckRank("inputs", input_rank, status) ||
      !values.CheckRank("values", 1, status) ||
      !indices.CheckRank("indices", 1, status) ||
      !starts.CheckRank("starts", 1, status) ||
      !bias.CheckRank("bias", 1, status)) {
    return false;
  }
  if (indices.dim(0) != values.dim(0)) {
    return status->Invalid(
        "`indices` must be as long as `values`. Received: indices of shape " +
        indices.shape() + ", values of shape " + values.shape());
  }
  if (starts.dim(0) < 1) {
    return status->Invalid(
        "`starts` must have units + 1 entries. Received: shape " +
        starts.shape());
  }
  if (bias.dim(0) != units()) {
    return status->Invalid(
        "`bias` must have one entry less than `starts`. "
        "Received: bias of shape " +
        bias.shape() + ", starts of shape " + starts.shape());
  }
  return true;
}

bool CheckResult(int result, const SparseInputs& sparse, int64_t input_dim,
                 Status* status) {
  switch (result) {
    case KC_SPARSE_OK:
      return true;
    case KC_SPARSE_STARTS:
      return status->Invalid(
          "`starts` must begin with 0, never fall, and end with the number of "
          "values, " +
          std::to_string(sparse.values.dim(0)) +
          ". Received: " + WrongStart(sparse));
    case KC_SPARSE_INDICES:
      return status->Invalid("`indices` must be in [0, " +
                             std::to_string(input_dim) +
                             "). Received: " + WrongIndex(sparse, input_dim));
    case KC_SPARSE_MEMORY:
      TF_SetStatus(status->get(), TF_RESOURCE_EXHAUSTED,
                   "No memory for a panel of the inputs of a sparse product");
      return false;
    default:
      return status->Invalid("A size of a sparse product is out of range");
  }
}

void AddSparseInputs(TF_OpDefinitionBuilder* builder) {
  TF_OpDefinitionBuilderAddAttr(builder, "T: {uint16, int32}");
  TF_OpDefinitionBuilderAddInput(builder, "inputs: float");
  TF_OpDefinitionBuilderAddInput(builder, "values: float");
  TF_OpDefinitionBuilderAddInput(builder, "indices: T");
  TF_OpDefinitionBuilderAddInput(builder, "starts: int32");
  TF_OpDefinitionBuilderAddInput(builder, "bias: float");
  TF_OpDefinitionBuilderAddOutput(builder, "outputs: float");
}

void RegisterSparseKernel(const char* op,
                          void* (*create)(TF_OpKernelConstruction*),
                          void (*compute)(void*, TF_OpKernelContext*),
                          void (*destroy)(void*)) {
  for (const TF_DataType type : {TF_UINT16, TF_INT32}) {
    Status status;
    TF_KernelBuilder* builder =
        TF_NewKernelBuilder(op, "CPU", create, compute, destroy);
    TF_KernelBuilder_TypeConstraint(builder, "T", type, status.get());
    if (status.ok()) TF_RegisterKernelBuilder(op, builder, status.get());
    if (!status.ok()) {
      fprintf(stderr, "keras_compress: %s: %s\n", op, TF_Message(status.get()));
    }
  }
}

}  // namespace keras_compress
