// The ops of this library, one function each, and what they register with.
#ifndef KERAS_COMPRESS_CSRC_TF_REGISTER_H_
#define KERAS_COMPRESS_CSRC_TF_REGISTER_H_

#include "c_api.h"

namespace keras_compress {

// Hands the definition of an op to TensorFlow, which owns it from there.
void RegisterOp(TF_OpDefinitionBuilder* builder);

// Registers a kernel for all types that the op's definition allows.
void RegisterCpuKernel(const char* op,
                       void* (*create)(TF_OpKernelConstruction*),
                       void (*compute)(void*, TF_OpKernelContext*),
                       void (*destroy)(void*));

void RegisterSparseMatmul();
void RegisterSparseConv2D();
void RegisterPackSigns();
void RegisterXnorMatmul();
void RegisterXnorNetwork();
void RegisterXnorStages();
void RegisterXnorConv2D();
void RegisterPoolSigns();
void RegisterIntegerMatmul();
void RegisterLevelBits();
void RegisterLowRankMatmul();

}  // namespace keras_compress

#endif  // KERAS_COMPRESS_CSRC_TF_REGISTER_H_
