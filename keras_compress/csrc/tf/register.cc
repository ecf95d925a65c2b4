// Registers every op when TensorFlow loads the library.
#include "register.h"

#include <stdio.h>

#include "op_context.h"

namespace keras_compress {

void RegisterOp(TF_OpDefinitionBuilder* builder) {
  const Status status;
  TF_RegisterOpDefinition(builder, status.get());
  if (!status.ok()) {
    fprintf(stderr, "keras_compress: %s\n", TF_Message(status.get()));
  }
}

void RegisterCpuKernel(const char* op,
                       void* (*create)(TF_OpKernelConstruction*),
                       void (*compute)(void*, TF_OpKernelContext*),
                       void (*destroy)(void*)) {
  const Status status;
  TF_RegisterKernelBuilder(
      op, TF_NewKernelBuilder(op, "CPU", create, compute, destroy),
      status.get());
  if (!status.ok()) {
    fprintf(stderr, "keras_compress: %s: %s\n", op, TF_Message(status.get()));
  }
}

namespace {

[[maybe_unused]] const bool registered = [] {
  RegisterSparseMatmul();
  RegisterSparseConv2D();
  RegisterPackSigns();
  RegisterXnorMatmul();
  RegisterXnorNetwork();
  RegisterXnorStages();
  RegisterXnorConv2D();
  RegisterPoolSigns();
  RegisterIntegerMatmul();
  RegisterLevelBits();
  RegisterLowRankMatmul();
  return true;
}();

}  // namespace
}  // namespace keras_compress
