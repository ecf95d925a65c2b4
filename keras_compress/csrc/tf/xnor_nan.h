// What the ops on signs say where an input is NaN.
#ifndef KERAS_COMPRESS_CSRC_TF_XNOR_NAN_H_
#define KERAS_COMPRESS_CSRC_TF_XNOR_NAN_H_

#include "op_context.h"

namespace keras_compress {

// Always false; names the first NaN of a matrix of floats.
inline bool InvalidNan(const Tensor& inputs, Status* status) {
  const float* from = inputs.data<float>();
  int64_t i = 0;
  while (i + 1 < inputs.dim(0) * inputs.dim(1) && from[i] == from[i]) ++i;
  return status->Invalid(
      "`inputs` must be free of NaN, which has no sign. Received: NaN in row " +
      std::to_string(i / inputs.dim(1)) + ", column " +
      std::to_string(i % inputs.dim(1)));
}

}  // namespace keras_compress

#endif  // KERAS_COMPRESS_CSRC_TF_XNOR_NAN_H_
