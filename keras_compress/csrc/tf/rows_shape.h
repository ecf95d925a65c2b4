// The shape that products of rows have in common.
#ifndef KERAS_COMPRESS_CSRC_TF_ROWS_SHAPE_H_
#define KERAS_COMPRESS_CSRC_TF_ROWS_SHAPE_H_

#include "c_api.h"

namespace keras_compress {

// The output is [rows, units] where input 0 is [rows, ...] and input `vector`
// is [units].
void InferRows(TF_ShapeInferenceContext* context, int vector,
               TF_Status* status);

}  // namespace keras_compress

#endif  // KERAS_COMPRESS_CSRC_TF_ROWS_SHAPE_H_
