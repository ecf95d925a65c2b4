// What the sparse ops have in common: their weights, checks, and registration.
#ifndef KERAS_COMPRESS_CSRC_TF_SPARSE_INPUTS_H_
#define KERAS_COMPRESS_CSRC_TF_SPARSE_INPUTS_H_

#include <vector>

#include "../kernels/sparse_api.h"
#include "op_context.h"

namespace keras_compress {

// The attribute `layout`, as a number of SparseLayout.
bool ReadLayout(TF_OpKernelConstruction* construction, int64_t* layout,
                Status* status);

// The inputs of a sparse op, in the order of its definition: the rows, the
// bias, and the parts of the layout.
class SparseInputs {
 public:
  SparseInputs(TF_OpKernelContext* context, int64_t layout, Status* status);

  // Ranks, types and lengths, for so many inputs of the matrix; what is in the
  // parts the kernels check.
  bool Check(int64_t input_dim, Status* status);
  int64_t units() const { return bias.dim(0); }
  const KcSparseMatrix& matrix() const { return matrix_; }

  // Turns the answer of a kc_sparse_* function into a status.
  bool CheckResult(int result, Status* status) const;

  Tensor inputs, bias;

 private:
  int64_t layout_;
  std::vector<Tensor> parts_;
  std::vector<TF_DataType> types_;
  KcSparseMatrix matrix_ = {};
};

// The inputs, outputs and layout of every sparse op.
void AddSparseInputs(TF_OpDefinitionBuilder* builder);

}  // namespace keras_compress

#endif  // KERAS_COMPRESS_CSRC_TF_SPARSE_INPUTS_H_
