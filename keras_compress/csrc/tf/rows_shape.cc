#include "rows_shape.h"

#include "op_context.h"

namespace keras_compress {

void InferRows(TF_ShapeInferenceContext* context, int vector,
               TF_Status* status) {
  Shape inputs, units, rows, outputs;
  TF_ShapeInferenceContextGetInput(context, 0, inputs.get(), status);
  if (TF_GetCode(status) != TF_OK) return;
  TF_ShapeInferenceContextWithRank(context, inputs.get(), 2, inputs.get(),
                                   status);
  if (TF_GetCode(status) != TF_OK) return;
  TF_ShapeInferenceContextGetInput(context, vector, units.get(), status);
  if (TF_GetCode(status) != TF_OK) return;
  TF_ShapeInferenceContextWithRank(context, units.get(), 1, units.get(),
                                   status);
  if (TF_GetCode(status) != TF_OK) return;
  TF_ShapeInferenceContextSubshape(context, inputs.get(), 0, 1, rows.get(),
                                   status);
  if (TF_GetCode(status) != TF_OK) return;
  TF_ShapeInferenceContextConcatenateShapes(context, rows.get(), units.get(),
                                            outputs.get(), status);
  if (TF_GetCode(status) != TF_OK) return;
  TF_ShapeInferenceContextSetOutput(context, 0, outputs.get(), status);
}

}  // namespace keras_compress
