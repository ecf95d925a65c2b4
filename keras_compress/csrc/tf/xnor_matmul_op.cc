// The op KcXnorMatmul: rows times packed weights, one layer or one after
// another.
#include <vector>

#include "register.h"
#include "rows_shape.h"
#include "xnor_inputs.h"

namespace keras_compress {
namespace {

// `layers` products, of which the first `hidden` give bits.
struct Attributes {
  int64_t inputs, layers, hidden;
};

void* Create(TF_OpKernelConstruction* construction) {
  Status status;
  Attributes* a = new Attributes();
  TF_OpKernelConstruction_GetAttrInt64(construction, "inputs", &a->inputs,
                                       status.get());
  if (status.ok()) {
    TF_OpKernelConstruction_GetAttrInt64(construction, "layers", &a->layers,
                                         status.get());
  }
  if (status.ok()) {
    TF_OpKernelConstruction_GetAttrInt64(construction, "hidden", &a->hidden,
                                         status.get());
  }
  if (!status.ok()) {
    TF_OpKernelConstruction_Failure(construction, status.get());
  }
  return a;
}

void Delete(void* attributes) { delete static_cast<Attributes*>(attributes); }

// The layers as kernels want them.
bool ReadLayers(const Attributes& a, int64_t output, XnorInputs* inputs,
                std::vector<KcXnorLayer>* layers, Status* status) {
  const int64_t n = a.layers;
  if (a.hidden != (output == XnorInputs::kBits ? n : n - 1)) {
    return status->Invalid(
        "All layers that give bits need thresholds, and no other does. "
        "Received: " +
        std::to_string(a.hidden) + " thresholds for " + std::to_string(n) +
        " layers");
  }
  int64_t width = a.inputs;
  for (int64_t i = 0; i < n; ++i) {
    KcXnorLayer layer;
    const XnorInputs::Places at = {
        1 + i,     1 + n + i,     1 + 2 * n + i,           1 + 3 * n,
        2 + 3 * n, 3 + 3 * n + i, 3 + 3 * n + a.hidden + i};
    if (!inputs->Layer(
            at, width, (width + 31) / 32, std::to_string(width) + " inputs",
            i + 1 < n ? XnorInputs::kBits : output, &layer, status)) {
      return false;
    }
    layers->push_back(layer);
    width = layer.units;
  }
  return true;
}

bool CheckInputs(const Tensor& inputs, bool packed, int64_t width,
                 Status* status) {
  if (!inputs.CheckRank("inputs", 2, status)) return false;
  const int64_t expected = packed ? (width + 31) / 32 : width;
  if (inputs.dim(1) == expected) return true;
  return status->Invalid("`inputs` must have " + std::to_string(expected) +
                         (packed ? " words" : " numbers") + " in a row for " +
                         std::to_string(width) + " inputs. Received: shape " +
                         inputs.shape());
}

void Compute(void* kernel, TF_OpKernelContext* context) {
  const Attributes& a = *static_cast<Attributes*>(kernel);
  Status status;
  const Tensor inputs = Tensor::Input(context, 0, &status);
  const bool packed = TF_InputDatatype(context, 0) == TF_UINT32;
  const int64_t kind = XnorOutputKind(context);
  XnorInputs weights(context);
  std::vector<KcXnorLayer> layers;
  if (status.ok() && CheckInputs(inputs, packed, a.inputs, &status) &&
      ReadLayers(a, kind, &weights, &layers, &status)) {
    const int64_t units = layers.back().units;
    const int64_t dims[] = {
        inputs.dim(0), kind == XnorInputs::kBits ? (units + 31) / 32 : units};
    const Tensor outputs = Tensor::Output(
        context, dims, 2, &status, TF_ExpectedOutputDataType(context, 0));
    if (status.ok()) {
      CheckXnorResult(
          kc_xnor_chain(layers.data(), a.layers, packed, inputs.data<void>(),
                        dims[0], outputs.data<void>()),
          inputs, &status);
    }
  }
  if (!status.ok()) TF_OpKernelContext_Failure(context, status.get());
}

// [rows, units], or for bits [rows, words]: as the last `kept`, or `flips`, is
// long. The number of inputs says which: 5 a layer and one, or two more.
void Infer(TF_ShapeInferenceContext* context, TF_Status* status) {
  const int count =
      static_cast<int>(TF_ShapeInferenceContextNumInputs(context));
  const bool bits = count % 5 != 1;
  InferRows(context, bits ? count - 1 : 3 * ((count - 1) / 5), status);
}

}  // namespace

void RegisterXnorMatmul() {
  TF_OpDefinitionBuilder* builder = TF_NewOpDefinitionBuilder("KcXnorMatmul");
  TF_OpDefinitionBuilderAddAttr(builder, "T: {float, uint32}");
  TF_OpDefinitionBuilderAddAttr(builder, "Tout: {float, int32, uint32}");
  TF_OpDefinitionBuilderAddAttr(builder, "inputs: int >= 0");
  TF_OpDefinitionBuilderAddAttr(builder, "layers: int >= 1");
  TF_OpDefinitionBuilderAddAttr(builder, "hidden: int >= 0");
  TF_OpDefinitionBuilderAddInput(builder, "rows: T");
  TF_OpDefinitionBuilderAddInput(builder, "signs: layers * uint32");
  TF_OpDefinitionBuilderAddInput(builder, "masks: layers * uint32");
  TF_OpDefinitionBuilderAddInput(builder, "kept: layers * int32");
  TF_OpDefinitionBuilderAddInput(builder, "scale: float");
  TF_OpDefinitionBuilderAddInput(builder, "bias: float");
  TF_OpDefinitionBuilderAddInput(builder, "thresholds: hidden * int32");
  TF_OpDefinitionBuilderAddInput(builder, "flips: hidden * uint32");
  TF_OpDefinitionBuilderAddOutput(builder, "outputs: Tout");
  TF_OpDefinitionBuilderSetShapeInferenceFunction(builder, Infer);
  RegisterOp(builder);
  RegisterCpuKernel("KcXnorMatmul", Create, Compute, Delete);
}

}  // namespace keras_compress
