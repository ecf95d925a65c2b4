// What the ops on packed signs have in common: their weights and their errors.
#ifndef KERAS_COMPRESS_CSRC_TF_XNOR_INPUTS_H_
#define KERAS_COMPRESS_CSRC_TF_XNOR_INPUTS_H_

#include <string>
#include <vector>

#include "../kernels/xnor_api.h"
#include "op_context.h"

namespace keras_compress {

// Inputs of an op with checks; their data is there for as long as this object.
class XnorInputs {
 public:
  static constexpr int64_t kFloats = 0, kSums = 1, kBits = 2;

  explicit XnorInputs(TF_OpKernelContext* context) : context_(context) {}

  // Where the inputs of a layer stand in the op.
  struct Places {
    int64_t signs, masks, kept, scale, bias, thresholds, flips;
  };

  // A layer of `width` inputs that come as `words` words; `of` says that to
  // people.
  bool Layer(const Places& at, int64_t width, int64_t words,
             const std::string& of, int64_t output, KcXnorLayer* layer,
             Status* status);

  // An input of this rank, and of this length where that is not -1; valid until
  // the next is read.
  const Tensor* Input(int64_t index, const char* name, int rank, int64_t length,
                      Status* status);

 private:
  bool Panels(int64_t index, const char* name, int64_t words, int64_t units,
              const std::string& of, bool optional, const uint32_t** data,
              Status* status);
  bool Vector(int64_t index, const char* name, int64_t units,
              const float** data, Status* status);

  TF_OpKernelContext* context_;
  std::vector<Tensor> held_;
};

// What an op gives, of the kinds of xnor_api.h.
int64_t XnorOutputKind(TF_OpKernelContext* context);

// Turns the answer of a kc_xnor_* function into a status. For NaN it names the
// first of `inputs`, whose last axis is that of the signs.
void CheckXnorResult(int result, const Tensor& inputs, Status* status);

}  // namespace keras_compress

#endif  // KERAS_COMPRESS_CSRC_TF_XNOR_INPUTS_H_
