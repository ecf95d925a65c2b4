// What the sparse ops have in common: their weights, checks, and registration.
#ifndef KERAS_COMPRESS_CSRC_TF_SPARSE_INPUTS_H_
#define KERAS_COMPRESS_CSRC_TF_SPARSE_INPUTS_H_

#include "op_context.h"

namespace keras_compress {

// The five inputs of a sparse op, in the order of its definition.
struct SparseInputs {
  SparseInputs(TF_OpKernelContext* context, Status* status);

  // Ranks and lengths; what is in starts and indices the kernels check.
  bool Check(int input_rank, Status* status) const;
  int64_t units() const { return starts.dim(0) - 1; }

  Tensor inputs, values, indices, starts, bias;
  int index_bytes;
};

// Turns the answer of a kc_sparse_* function into a status.
bool CheckResult(int result, const SparseInputs& sparse, int64_t input_dim,
                 Status* status);

// The inputs and outputs of every sparse op.
void AddSparseInputs(TF_OpDefinitionBuilder* builder);

// Registers the kernel of an op for both types of indices.
void RegisterSparseKernel(const char* op,
                          void* (*create)(TF_OpKernelConstruction*),
                          void (*compute)(void*, TF_OpKernelContext*),
                          void (*destroy)(void*));

}  // namespace keras_compress

#endif  // KERAS_COMPRESS_CSRC_TF_SPARSE_INPUTS_H_
