// The op KcXnorMatmul: rows times packed weights, one layer or one after
// another.
#include <utility>
#include <vector>

#include "../kernels/xnor_api.h"
#include "register.h"
#include "xnor_nan.h"

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

// The layers as kernels want them, from the op's inputs, which it keeps alive.
class Layers {
 public:
  Layers(const Attributes& attributes, TF_OpKernelContext* context)
      : a_(attributes), context_(context) {}

  bool Read(int64_t output, Status* status) {
    const int64_t n = a_.layers;
    if (a_.hidden != (output == kBits ? n : n - 1)) {
      return status->Invalid(
          "All layers that give bits need thresholds, and no other does. "
          "Received: " +
          std::to_string(a_.hidden) + " thresholds for " + std::to_string(n) +
          " layers");
    }
    int64_t width = a_.inputs;
    for (int64_t i = 0; i < n; ++i) {
      if (!Layer(i, width, i + 1 < n ? kBits : output, status)) return false;
      width = layers.back().units;
    }
    return true;
  }

  std::vector<KcXnorLayer> layers;

 private:
  static constexpr int64_t kBits = 2;

  bool Layer(int64_t i, int64_t width, int64_t output, Status* status) {
    const int64_t n = a_.layers;
    KcXnorLayer layer = {};
    const Tensor* kept = Input(1 + 2 * n + i, "kept", 1, -1, status);
    if (kept == nullptr) return false;
    layer.inputs = width;
    layer.units = kept->dim(0);
    layer.output = output;
    layer.kept = kept->data<int32_t>();
    if (!Panels(1 + i, "signs", width, layer.units, false, &layer.signs,
                status) ||
        !Panels(1 + n + i, "masks", width, layer.units, true, &layer.masks,
                status)) {
      return false;
    }
    if (output == kBits) {
      const Tensor* thresholds =
          Input(3 + 3 * n + i, "thresholds", 1, layer.units, status);
      if (thresholds == nullptr) return false;
      layer.thresholds = thresholds->data<int32_t>();
      const Tensor* flips = Input(3 + 3 * n + a_.hidden + i, "flips", 1,
                                  (layer.units + 31) / 32, status);
      if (flips == nullptr) return false;
      layer.flips = flips->data<uint32_t>();
    } else if (!Vector(1 + 3 * n, "scale", layer.units, &layer.scale, status) ||
               !Vector(2 + 3 * n, "bias", layer.units, &layer.bias, status)) {
      return false;
    }
    layers.push_back(layer);
    return true;
  }

  // An input of this rank, and of this length where that is not -1; valid until
  // the next is read, its data for as long as this object.
  const Tensor* Input(int64_t index, const char* name, int rank, int64_t length,
                      Status* status) {
    Tensor tensor = Tensor::Input(context_, static_cast<int>(index), status);
    if (!status->ok() || !tensor.CheckRank(name, rank, status)) return nullptr;
    if (length >= 0 && tensor.dim(0) != length) {
      status->Invalid("`" + std::string(name) + "` must be of length " +
                      std::to_string(length) + ". Received: shape " +
                      tensor.shape());
      return nullptr;
    }
    held_.push_back(std::move(tensor));
    return &held_.back();
  }

  bool Panels(int64_t index, const char* name, int64_t width, int64_t units,
              bool optional, const uint32_t** data, Status* status) {
    const Tensor* tensor = Input(index, name, 3, -1, status);
    if (tensor == nullptr) return false;
    if (optional && tensor->dim(0) == 0) return true;
    const int64_t panels = (units + 15) / 16;
    const int64_t words = (width + 31) / 32;
    if (tensor->dim(0) != panels || tensor->dim(1) != words ||
        tensor->dim(2) != 16) {
      return status->Invalid(
          "`" + std::string(name) + "` must be of shape [" +
          std::to_string(panels) + "," + std::to_string(words) + ",16] for " +
          std::to_string(width) + " inputs and " + std::to_string(units) +
          " units. Received: shape " + tensor->shape());
    }
    *data = tensor->data<uint32_t>();
    return true;
  }

  // Nothing stands for none, unless there are no units.
  bool Vector(int64_t index, const char* name, int64_t units,
              const float** data, Status* status) {
    const Tensor* tensor = Input(index, name, 1, -1, status);
    if (tensor == nullptr) return false;
    if (tensor->dim(0) == 0) return true;
    if (tensor->dim(0) != units) {
      return status->Invalid("`" + std::string(name) + "` must be of length " +
                             std::to_string(units) + " or 0. Received: shape " +
                             tensor->shape());
    }
    *data = tensor->data<float>();
    return true;
  }

  const Attributes a_;
  TF_OpKernelContext* context_;
  std::vector<Tensor> held_;
};

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
  const TF_DataType type = TF_ExpectedOutputDataType(context, 0);
  Layers all(a, context);
  if (status.ok() && CheckInputs(inputs, packed, a.inputs, &status) &&
      all.Read(type == TF_FLOAT   ? 0
               : type == TF_INT32 ? 1
                                  : 2,
               &status)) {
    const int64_t units = all.layers.back().units;
    const int64_t dims[] = {inputs.dim(0),
                            type == TF_UINT32 ? (units + 31) / 32 : units};
    const Tensor outputs = Tensor::Output(context, dims, 2, &status, type);
    if (status.ok()) {
      const int result =
          kc_xnor_chain(all.layers.data(), a.layers, packed,
                        inputs.data<void>(), dims[0], outputs.data<void>());
      if (result == KC_XNOR_NAN) {
        InvalidNan(inputs, &status);
      } else if (result == KC_XNOR_MEMORY) {
        TF_SetStatus(status.get(), TF_RESOURCE_EXHAUSTED,
                     "No memory for the packed signs of a product");
      } else if (result != KC_XNOR_OK) {
        status.Invalid("A size of a product of signs is out of range");
      }
    }
  }
  if (!status.ok()) TF_OpKernelContext_Failure(context, status.get());
}

// [rows, units], or for bits [rows, words]: as the last `kept`, or `flips`, is
// long. The number of inputs says which: 5 a layer and one, or two more.
void Infer(TF_ShapeInferenceContext* context, TF_Status* status) {
  Shape inputs, last, rows, outputs;
  const int64_t count = TF_ShapeInferenceContextNumInputs(context);
  const bool bits = count % 5 != 1;
  const int64_t index = bits ? count - 1 : 3 * ((count - 1) / 5);
  TF_ShapeInferenceContextGetInput(context, 0, inputs.get(), status);
  if (TF_GetCode(status) != TF_OK) return;
  TF_ShapeInferenceContextWithRank(context, inputs.get(), 2, inputs.get(),
                                   status);
  if (TF_GetCode(status) != TF_OK) return;
  TF_ShapeInferenceContextGetInput(context, static_cast<int>(index), last.get(),
                                   status);
  if (TF_GetCode(status) != TF_OK) return;
  TF_ShapeInferenceContextWithRank(context, last.get(), 1, last.get(), status);
  if (TF_GetCode(status) != TF_OK) return;
  TF_ShapeInferenceContextSubshape(context, inputs.get(), 0, 1, rows.get(),
                                   status);
  if (TF_GetCode(status) != TF_OK) return;
  TF_ShapeInferenceContextConcatenateShapes(context, rows.get(), last.get(),
                                            outputs.get(), status);
  if (TF_GetCode(status) != TF_OK) return;
  TF_ShapeInferenceContextSetOutput(context, 0, outputs.get(), status);
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
