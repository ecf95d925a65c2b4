// Owners of the C API's objects, so that an adapter reads as checks and one
// call.
#ifndef KERAS_COMPRESS_CSRC_TF_OP_CONTEXT_H_
#define KERAS_COMPRESS_CSRC_TF_OP_CONTEXT_H_

#include <string>

#include "c_api.h"

namespace keras_compress {

class Status {
 public:
  Status() : status_(TF_NewStatus()) {}
  ~Status() { TF_DeleteStatus(status_); }
  Status(const Status&) = delete;
  Status& operator=(const Status&) = delete;

  TF_Status* get() const { return status_; }
  bool ok() const { return TF_GetCode(status_) == TF_OK; }
  // Always false, so that a check can end in `return status.Invalid(...)`.
  bool Invalid(const std::string& message) {
    TF_SetStatus(status_, TF_INVALID_ARGUMENT, message.c_str());
    return false;
  }

 private:
  TF_Status* status_;
};

// An input or an output of a kernel, for as long as the kernel runs.
class Tensor {
 public:
  static Tensor Input(TF_OpKernelContext* context, int index, Status* status) {
    TF_Tensor* tensor = nullptr;
    TF_GetInput(context, index, &tensor, status->get());
    return Tensor(tensor);
  }
  // Of floats, or of another type, whose numbers have so many bytes.
  static Tensor Output(TF_OpKernelContext* context, const int64_t* dims,
                       int rank, Status* status, TF_DataType type = TF_FLOAT,
                       size_t bytes = 4) {
    for (int i = 0; i < rank; ++i) bytes *= static_cast<size_t>(dims[i]);
    return Tensor(
        TF_AllocateOutput(context, 0, type, dims, rank, bytes, status->get()));
  }
  // None, for an input that an op has not.
  Tensor() : tensor_(nullptr) {}
  Tensor(Tensor&& other) : tensor_(other.tensor_) { other.tensor_ = nullptr; }
  Tensor(const Tensor&) = delete;
  Tensor& operator=(const Tensor&) = delete;
  ~Tensor() {
    if (tensor_ != nullptr) TF_DeleteTensor(tensor_);
  }

  int rank() const { return TF_NumDims(tensor_); }
  int64_t dim(int i) const { return TF_Dim(tensor_, i); }
  template <class T>
  T* data() const {
    return static_cast<T*>(TF_TensorData(tensor_));
  }
  // As TensorFlow writes a shape: [2,3].
  std::string shape() const {
    std::string text = "[";
    for (int i = 0; i < rank(); ++i) {
      text += (i > 0 ? "," : "") + std::to_string(dim(i));
    }
    return text + "]";
  }
  bool CheckRank(const char* name, int expected, Status* status) const {
    if (rank() == expected) return true;
    return status->Invalid("`" + std::string(name) + "` must have rank " +
                           std::to_string(expected) + ". Received: shape " +
                           shape());
  }

 private:
  explicit Tensor(TF_Tensor* tensor) : tensor_(tensor) {}
  TF_Tensor* tensor_;
};

class Shape {
 public:
  Shape() : handle_(TF_NewShapeHandle()) {}
  explicit Shape(TF_ShapeHandle* handle) : handle_(handle) {}
  ~Shape() { TF_DeleteShapeHandle(handle_); }
  Shape(const Shape&) = delete;
  Shape& operator=(const Shape&) = delete;
  TF_ShapeHandle* get() const { return handle_; }

 private:
  TF_ShapeHandle* handle_;
};

}  // namespace keras_compress

#endif  // KERAS_COMPRESS_CSRC_TF_OP_CONTEXT_H_
