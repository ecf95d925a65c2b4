// The op KcSparseMatmul: dense rows times a sparse matrix.
#include "../kernels/sparse_api.h"
#include "register.h"
#include "sparse_inputs.h"

namespace keras_compress {
namespace {

void Compute(void*, TF_OpKernelContext* context) {
  Status status;
  const SparseInputs sparse(context, &status);
  if (sparse.Check(2, &status)) {
    const int64_t rows = sparse.inputs.dim(0);
    const int64_t input_dim = sparse.inputs.dim(1);
    const int64_t dims[] = {rows, sparse.units()};
    const Tensor outputs = Tensor::Output(context, dims, 2, &status);
    if (status.ok()) {
      const int result =
          kc_sparse_matmul(sparse.inputs.data<float>(), rows, input_dim,
                           sparse.units(), sparse.values.data<float>(),
                           sparse.indices.data<void>(), sparse.index_bytes,
                           sparse.values.dim(0), sparse.starts.data<int32_t>(),
                           sparse.bias.data<float>(), outputs.data<float>());
      CheckResult(result, sparse, input_dim, &status);
    }
  }
  if (!status.ok()) TF_OpKernelContext_Failure(context, status.get());
}

// [batch, units]: units from the bias, or from the starts, or unknown.
void Infer(TF_ShapeInferenceContext* context, TF_Status* status) {
  Shape inputs, starts, bias, batch, outputs;
  TF_ShapeInferenceContextGetInput(context, 0, inputs.get(), status);
  if (TF_GetCode(status) != TF_OK) return;
  TF_ShapeInferenceContextWithRank(context, inputs.get(), 2, inputs.get(),
                                   status);
  if (TF_GetCode(status) != TF_OK) return;
  TF_ShapeInferenceContextGetInput(context, 3, starts.get(), status);
  if (TF_GetCode(status) != TF_OK) return;
  TF_ShapeInferenceContextWithRank(context, starts.get(), 1, starts.get(),
                                   status);
  if (TF_GetCode(status) != TF_OK) return;
  TF_ShapeInferenceContextGetInput(context, 4, bias.get(), status);
  if (TF_GetCode(status) != TF_OK) return;
  TF_ShapeInferenceContextWithRank(context, bias.get(), 1, bias.get(), status);
  if (TF_GetCode(status) != TF_OK) return;
  TF_ShapeInferenceContextSubshape(context, inputs.get(), 0, 1, batch.get(),
                                   status);
  if (TF_GetCode(status) != TF_OK) return;
  TF_DimensionHandle* length = TF_NewDimensionHandle();
  TF_ShapeInferenceContextDim(context, starts.get(), 0, length);
  const bool known = TF_DimensionHandleValueKnown(length) &&
                     TF_DimensionHandleValue(length) > 0;
  const size_t units =
      known ? static_cast<size_t>(TF_DimensionHandleValue(length) - 1) : 0;
  TF_DeleteDimensionHandle(length);
  if (known) {
    const Shape vector(TF_ShapeInferenceContextVectorFromSize(context, units));
    TF_ShapeInferenceContextConcatenateShapes(
        context, batch.get(), vector.get(), outputs.get(), status);
  } else {
    TF_ShapeInferenceContextConcatenateShapes(context, batch.get(), bias.get(),
                                              outputs.get(), status);
  }
  if (TF_GetCode(status) != TF_OK) return;
  TF_ShapeInferenceContextSetOutput(context, 0, outputs.get(), status);
}

}  // namespace

void RegisterSparseMatmul() {
  TF_OpDefinitionBuilder* builder = TF_NewOpDefinitionBuilder("KcSparseMatmul");
  AddSparseInputs(builder);
  TF_OpDefinitionBuilderSetShapeInferenceFunction(builder, Infer);
  RegisterOp(builder);
  RegisterSparseKernel("KcSparseMatmul", nullptr, Compute, nullptr);
}

}  // namespace keras_compress
