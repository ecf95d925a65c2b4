// The op KcSparseMatmul: dense rows times a sparse matrix.
#include "register.h"
#include "rows_shape.h"
#include "sparse_inputs.h"

namespace keras_compress {
namespace {

void* Create(TF_OpKernelConstruction* construction) {
  Status status;
  int64_t* layout = new int64_t(0);
  if (!ReadLayout(construction, layout, &status)) {
    TF_OpKernelConstruction_Failure(construction, status.get());
  }
  return layout;
}

void Delete(void* layout) { delete static_cast<int64_t*>(layout); }

void Compute(void* kernel, TF_OpKernelContext* context) {
  Status status;
  SparseInputs sparse(context, *static_cast<int64_t*>(kernel), &status);
  if (status.ok() && sparse.inputs.CheckRank("inputs", 2, &status) &&
      sparse.Check(sparse.inputs.dim(1), &status)) {
    const int64_t rows = sparse.inputs.dim(0);
    const int64_t dims[] = {rows, sparse.units()};
    const Tensor outputs = Tensor::Output(context, dims, 2, &status);
    if (status.ok()) {
      const int result =
          kc_sparse_matmul(&sparse.matrix(), sparse.inputs.data<float>(), rows,
                           outputs.data<float>());
      sparse.CheckResult(result, &status);
    }
  }
  if (!status.ok()) TF_OpKernelContext_Failure(context, status.get());
}

// As many units as the bias has.
void Infer(TF_ShapeInferenceContext* context, TF_Status* status) {
  InferRows(context, 1, status);
}

}  // namespace

void RegisterSparseMatmul() {
  TF_OpDefinitionBuilder* builder = TF_NewOpDefinitionBuilder("KcSparseMatmul");
  AddSparseInputs(builder);
  TF_OpDefinitionBuilderSetShapeInferenceFunction(builder, Infer);
  RegisterOp(builder);
  RegisterCpuKernel("KcSparseMatmul", Create, Compute, Delete);
}

}  // namespace keras_compress
