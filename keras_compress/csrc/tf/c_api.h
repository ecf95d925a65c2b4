// The part of TensorFlow's C API that the adapters use, declared by ourselves.
//
// The library is built without TensorFlow: these symbols resolve when
// TensorFlow loads it. With KC_CHECK_C_API defined, TensorFlow's own headers
// come first, and whatever is declared here and is not what they say is a
// compile error; a test does that against the TensorFlow that is installed.
#ifndef KERAS_COMPRESS_CSRC_TF_C_API_H_
#define KERAS_COMPRESS_CSRC_TF_C_API_H_

#include <stddef.h>
#include <stdint.h>

#ifdef KC_CHECK_C_API
#include "tensorflow/c/kernels.h"
#include "tensorflow/c/ops.h"
#include "tensorflow/c/tf_datatype.h"
#include "tensorflow/c/tf_status.h"
#include "tensorflow/c/tf_tensor.h"
#else
struct TF_KernelBuilder;
struct TF_OpDefinitionBuilder;
struct TF_OpKernelConstruction;
struct TF_OpKernelContext;
struct TF_ShapeHandle;
struct TF_ShapeInferenceContext;
struct TF_DimensionHandle;
struct TF_Status;
struct TF_Tensor;

enum TF_Code { TF_OK = 0, TF_INVALID_ARGUMENT = 3, TF_RESOURCE_EXHAUSTED = 8 };
enum TF_DataType {
  TF_FLOAT = 1,
  TF_INT32 = 3,
  TF_UINT8 = 4,
  TF_INT16 = 5,
  TF_INT8 = 6,
  TF_UINT16 = 17,
  TF_UINT32 = 22
};
#endif

static_assert(TF_OK == 0, "TF_OK");
static_assert(TF_INVALID_ARGUMENT == 3, "TF_INVALID_ARGUMENT");
static_assert(TF_RESOURCE_EXHAUSTED == 8, "TF_RESOURCE_EXHAUSTED");
static_assert(TF_FLOAT == 1, "TF_FLOAT");
static_assert(TF_INT32 == 3, "TF_INT32");
static_assert(TF_UINT8 == 4, "TF_UINT8");
static_assert(TF_INT16 == 5, "TF_INT16");
static_assert(TF_INT8 == 6, "TF_INT8");
static_assert(TF_UINT16 == 17, "TF_UINT16");
static_assert(TF_UINT32 == 22, "TF_UINT32");
static_assert(sizeof(TF_Code) == 4 && sizeof(TF_DataType) == 4, "enum size");

extern "C" {

// Status
TF_Status* TF_NewStatus(void);
void TF_DeleteStatus(TF_Status* status);
void TF_SetStatus(TF_Status* status, TF_Code code, const char* message);
TF_Code TF_GetCode(const TF_Status* status);
const char* TF_Message(const TF_Status* status);

// Tensors
void TF_DeleteTensor(TF_Tensor* tensor);
int TF_NumDims(const TF_Tensor* tensor);
int64_t TF_Dim(const TF_Tensor* tensor, int index);
void* TF_TensorData(const TF_Tensor* tensor);

// Definitions of ops, and their shapes
TF_OpDefinitionBuilder* TF_NewOpDefinitionBuilder(const char* name);
void TF_OpDefinitionBuilderAddAttr(TF_OpDefinitionBuilder* builder,
                                   const char* spec);
void TF_OpDefinitionBuilderAddInput(TF_OpDefinitionBuilder* builder,
                                    const char* spec);
void TF_OpDefinitionBuilderAddOutput(TF_OpDefinitionBuilder* builder,
                                     const char* spec);
void TF_OpDefinitionBuilderSetShapeInferenceFunction(
    TF_OpDefinitionBuilder* builder,
    void (*infer)(TF_ShapeInferenceContext* context, TF_Status* status));
void TF_RegisterOpDefinition(TF_OpDefinitionBuilder* builder,
                             TF_Status* status);

TF_ShapeHandle* TF_NewShapeHandle();
void TF_DeleteShapeHandle(TF_ShapeHandle* handle);
TF_DimensionHandle* TF_NewDimensionHandle();
void TF_DeleteDimensionHandle(TF_DimensionHandle* handle);
int64_t TF_ShapeInferenceContextNumInputs(TF_ShapeInferenceContext* context);
void TF_ShapeInferenceContextGetInput(TF_ShapeInferenceContext* context, int i,
                                      TF_ShapeHandle* handle,
                                      TF_Status* status);
void TF_ShapeInferenceContextSetOutput(TF_ShapeInferenceContext* context, int i,
                                       TF_ShapeHandle* handle,
                                       TF_Status* status);
TF_ShapeHandle* TF_ShapeInferenceContextVectorFromSize(
    TF_ShapeInferenceContext* context, size_t size);
void TF_ShapeInferenceContextWithRank(TF_ShapeInferenceContext* context,
                                      TF_ShapeHandle* handle, int64_t rank,
                                      TF_ShapeHandle* result,
                                      TF_Status* status);
void TF_ShapeInferenceContextDim(TF_ShapeInferenceContext* context,
                                 TF_ShapeHandle* handle, int64_t i,
                                 TF_DimensionHandle* result);
void TF_ShapeInferenceContextSubshape(TF_ShapeInferenceContext* context,
                                      TF_ShapeHandle* handle, int64_t start,
                                      int64_t end, TF_ShapeHandle* result,
                                      TF_Status* status);
void TF_ShapeInferenceContextConcatenateShapes(
    TF_ShapeInferenceContext* context, TF_ShapeHandle* first,
    TF_ShapeHandle* second, TF_ShapeHandle* result, TF_Status* status);
void TF_ShapeInferenceContextSetUnknownShape(TF_ShapeInferenceContext* context,
                                             TF_Status* status);
int TF_DimensionHandleValueKnown(TF_DimensionHandle* handle);
int64_t TF_DimensionHandleValue(TF_DimensionHandle* handle);

// Kernels
TF_KernelBuilder* TF_NewKernelBuilder(const char* op, const char* device,
                                      void* (*create)(TF_OpKernelConstruction*),
                                      void (*compute)(void*,
                                                      TF_OpKernelContext*),
                                      void (*destroy)(void*));
void TF_RegisterKernelBuilder(const char* name, TF_KernelBuilder* builder,
                              TF_Status* status);
void TF_OpKernelConstruction_GetAttrSize(TF_OpKernelConstruction* construction,
                                         const char* attribute, int32_t* length,
                                         int32_t* total, TF_Status* status);
void TF_OpKernelConstruction_GetAttrString(
    TF_OpKernelConstruction* construction, const char* attribute, char* value,
    size_t length, TF_Status* status);
void TF_OpKernelConstruction_GetAttrInt64(TF_OpKernelConstruction* construction,
                                          const char* attribute, int64_t* value,
                                          TF_Status* status);
void TF_OpKernelConstruction_GetAttrInt64List(
    TF_OpKernelConstruction* construction, const char* attribute,
    int64_t* values, int length, TF_Status* status);
void TF_OpKernelConstruction_Failure(TF_OpKernelConstruction* construction,
                                     TF_Status* status);
int TF_NumInputs(TF_OpKernelContext* context);
void TF_GetInput(TF_OpKernelContext* context, int i, TF_Tensor** tensor,
                 TF_Status* status);
TF_DataType TF_InputDatatype(TF_OpKernelContext* context, int index);
TF_DataType TF_ExpectedOutputDataType(TF_OpKernelContext* context, int index);
TF_Tensor* TF_AllocateOutput(TF_OpKernelContext* context, int index,
                             TF_DataType type, const int64_t* dims,
                             int num_dims, size_t bytes, TF_Status* status);
void TF_OpKernelContext_Failure(TF_OpKernelContext* context, TF_Status* status);

}  // extern "C"

#endif  // KERAS_COMPRESS_CSRC_TF_C_API_H_
