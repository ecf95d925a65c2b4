// Reads programs of stages, and runs them on tensors.
#include "xnor_stages.h"

#include <type_traits>

#include "xnor_inputs.h"

namespace keras_compress {
namespace {

bool Wrong(int64_t stage, Status* status) {
  return status->Invalid("Stage " + std::to_string(stage) +
                         " of the network has numbers that cannot be");
}

// The arrays of a product or a convolution whose units have `words` words.
bool Weights(int64_t flags, int64_t words, XnorArrays* arrays,
             KcXnorLayer* layer, Status* status) {
  const int64_t panels = (layer->units + 15) / 16 * words * 16;
  const auto take = [&](const char* name, TF_DataType type, int64_t count,
                        auto** to) {
    *to = static_cast<std::decay_t<decltype(*to)>>(
        arrays->Take(name, type, count, status));
    return status->ok();
  };
  const int64_t units = layer->units;
  return take("signs", TF_UINT32, panels, &layer->signs) &&
         ((flags & kMasks) == 0 ||
          take("masks", TF_UINT32, panels, &layer->masks)) &&
         take("kept", TF_INT32, units, &layer->kept) &&
         ((flags & kLimits) == 0 ||
          (take("thresholds", TF_INT32, units, &layer->thresholds) &&
           take("flips", TF_UINT32, (units + 31) / 32, &layer->flips))) &&
         ((flags & kScale) == 0 ||
          take("scale", TF_FLOAT, units, &layer->scale)) &&
         ((flags & kBias) == 0 || take("bias", TF_FLOAT, units, &layer->bias));
}

bool ReadStage(const int64_t* n, int64_t index, bool last, int64_t output,
               XnorArrays* arrays, KcXnorStage* stage, Status* status) {
  for (int64_t i = 0; i < kStageNumbers; ++i) {
    if (n[i] < 0 || n[i] > INT32_MAX) return Wrong(index, status);
  }
  if (n[0] > KC_XNOR_FLATTEN) return Wrong(index, status);
  const int64_t flags = n[3];
  stage->kind = n[0];
  if (last && stage->kind != KC_XNOR_PRODUCT &&
      stage->kind != KC_XNOR_CONVOLUTION && output != XnorInputs::kBits) {
    return status->Invalid("Stages that move bits give bits alone");
  }
  for (int i = 0; i < 2; ++i) {
    stage->window[i] = n[4 + i];
    stage->strides[i] = n[6 + i];
    stage->dilations[i] = n[8 + i];
  }
  for (int i = 0; i < 4; ++i) stage->border[i] = n[4 + i];
  stage->same = n[10];
  stage->zeros = n[11];
  KcXnorLayer* layer = &stage->layer;
  if (stage->kind == KC_XNOR_POOLING) {
    stage->channels = n[1];
    layer->flips = static_cast<const uint32_t*>(
        arrays->Take("flips", TF_UINT32, n[1], status));
    return status->ok();
  }
  const bool convolves = stage->kind == KC_XNOR_CONVOLUTION;
  if (stage->kind != KC_XNOR_PRODUCT && !convolves) return true;
  const int64_t wanted = last ? output : XnorInputs::kBits;
  layer->output = (flags & kLimits) != 0 ? XnorInputs::kBits : output;
  if (layer->output != wanted ||
      ((flags & kLimits) == 0 && wanted == XnorInputs::kBits)) {
    return status->Invalid(
        "All layers that give bits need thresholds, and no other does");
  }
  const int64_t taps = convolves ? n[4] * n[5] : 1;
  if (taps > INT32_MAX || taps * n[1] > INT32_MAX) return Wrong(index, status);
  stage->channels = n[1];
  layer->inputs = taps * n[1];
  layer->units = n[2];
  return Weights(flags, taps * ((n[1] + 31) / 32), arrays, layer, status);
}

// What goes wrong where is for people.
bool Unfit(int64_t stage, const Tensor& inputs, bool packed,
           const std::vector<KcXnorStage>& stages, Status* status) {
  const KcXnorStage& first = stages[0];
  const int64_t last =
      first.kind == KC_XNOR_PRODUCT ? first.layer.inputs : first.channels;
  const int64_t length = packed ? (last + 31) / 32 : last;
  if (stage == 0 && first.kind <= KC_XNOR_CONVOLUTION &&
      inputs.dim(inputs.rank() - 1) != length) {
    return status->Invalid("`inputs` must have " + std::to_string(length) +
                           (packed ? " words" : " numbers") + " for " +
                           std::to_string(last) + " inputs. Received: shape " +
                           inputs.shape());
  }
  return status->Invalid("Stage " + std::to_string(stage) +
                         " of the network does not follow the one before it, "
                         "with `inputs` of shape " +
                         inputs.shape());
}

}  // namespace

bool ReadStages(const std::vector<int64_t>& program, int64_t output,
                XnorArrays* arrays, std::vector<KcXnorStage>* stages,
                Status* status) {
  const int64_t count = static_cast<int64_t>(program.size()) / kStageNumbers;
  if (count < 1 || program.size() % kStageNumbers != 0) {
    return status->Invalid("A network must be a list of stages");
  }
  for (int64_t i = 0; i < count; ++i) {
    KcXnorStage stage = {};
    if (!ReadStage(program.data() + i * kStageNumbers, i, i + 1 == count,
                   output, arrays, &stage, status)) {
      return false;
    }
    stages->push_back(stage);
  }
  return true;
}

void RunNetwork(TF_OpKernelContext* context,
                const std::vector<KcXnorStage>& stages, Status* status) {
  const Tensor inputs = Tensor::Input(context, 0, status);
  if (!status->ok()) return;
  const bool packed = TF_InputDatatype(context, 0) == TF_UINT32;
  const bool rows = inputs.rank() == 2;
  if (!rows && !inputs.CheckRank("inputs", 4, status)) return;
  const int64_t images[] = {inputs.dim(0), rows ? 1 : inputs.dim(1),
                            rows ? 1 : inputs.dim(2), inputs.dim(rows ? 1 : 3)};
  const int64_t count = static_cast<int64_t>(stages.size());
  int64_t sizes[4];
  int64_t wrong =
      kc_xnor_network_sizes(stages.data(), count, packed, images, sizes);
  // Once flat, a network has no way back to images.
  bool flat = rows;
  for (int64_t i = 0; i < count && wrong < 0; ++i) {
    const int64_t kind = stages[static_cast<size_t>(i)].kind;
    if (flat && kind != KC_XNOR_PRODUCT && kind != KC_XNOR_FLATTEN) wrong = i;
    flat |= kind == KC_XNOR_FLATTEN;
  }
  if (wrong >= 0) {
    Unfit(wrong, inputs, packed, stages, status);
    return;
  }
  const int64_t dims[] = {sizes[0], flat ? sizes[3] : sizes[1], sizes[2],
                          sizes[3]};
  const Tensor outputs = Tensor::Output(context, dims, flat ? 2 : 4, status,
                                        TF_ExpectedOutputDataType(context, 0));
  if (!status->ok()) return;
  CheckXnorResult(
      kc_xnor_network(stages.data(), count, packed, inputs.data<void>(), images,
                      outputs.data<void>()),
      inputs, status);
}

}  // namespace keras_compress
