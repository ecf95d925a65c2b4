// Checks the weights of the ops on packed signs, and says what was wrong.
#include "xnor_inputs.h"

#include <utility>

namespace keras_compress {
namespace {

void InvalidNan(const Tensor& inputs, Status* status) {
  const float* from = inputs.data<float>();
  int64_t count = 1;
  for (int i = 0; i < inputs.rank(); ++i) count *= inputs.dim(i);
  int64_t at = 0;
  while (at + 1 < count && from[at] == from[at]) ++at;
  const bool matrix = inputs.rank() == 2;
  const char* const rows[] = {"row", "column"};
  const char* const images[] = {"image", "row", "column", "channel"};
  std::string place;
  for (int i = inputs.rank() - 1; i >= 0; --i) {
    place = std::string(i > 0 ? ", " : " ") + (matrix ? rows[i] : images[i]) +
            " " + std::to_string(at % inputs.dim(i)) + place;
    at /= inputs.dim(i);
  }
  status->Invalid(
      "`inputs` must be free of NaN, which has no sign. Received: NaN in" +
      place);
}

}  // namespace

bool XnorInputs::Layer(const Places& at, int64_t width, int64_t words,
                       const std::string& of, int64_t output,
                       KcXnorLayer* layer, Status* status) {
  const Tensor* kept = Input(at.kept, "kept", 1, -1, status);
  if (kept == nullptr) return false;
  *layer = {};
  layer->inputs = width;
  layer->units = kept->dim(0);
  layer->output = output;
  layer->kept = kept->data<int32_t>();
  if (!Panels(at.signs, "signs", words, layer->units, of, false, &layer->signs,
              status) ||
      !Panels(at.masks, "masks", words, layer->units, of, true, &layer->masks,
              status)) {
    return false;
  }
  if (output != kBits) {
    return Vector(at.scale, "scale", layer->units, &layer->scale, status) &&
           Vector(at.bias, "bias", layer->units, &layer->bias, status);
  }
  const Tensor* thresholds =
      Input(at.thresholds, "thresholds", 1, layer->units, status);
  if (thresholds == nullptr) return false;
  layer->thresholds = thresholds->data<int32_t>();
  const Tensor* flips =
      Input(at.flips, "flips", 1, (layer->units + 31) / 32, status);
  if (flips == nullptr) return false;
  layer->flips = flips->data<uint32_t>();
  return true;
}

const Tensor* XnorInputs::Input(int64_t index, const char* name, int rank,
                                int64_t length, Status* status) {
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

bool XnorInputs::Panels(int64_t index, const char* name, int64_t words,
                        int64_t units, const std::string& of, bool optional,
                        const uint32_t** data, Status* status) {
  const Tensor* tensor = Input(index, name, 3, -1, status);
  if (tensor == nullptr) return false;
  if (optional && tensor->dim(0) == 0) return true;
  const int64_t panels = (units + 15) / 16;
  if (tensor->dim(0) != panels || tensor->dim(1) != words ||
      tensor->dim(2) != 16) {
    return status->Invalid("`" + std::string(name) + "` must be of shape [" +
                           std::to_string(panels) + "," +
                           std::to_string(words) + ",16] for " + of + " and " +
                           std::to_string(units) + " units. Received: shape " +
                           tensor->shape());
  }
  *data = tensor->data<uint32_t>();
  return true;
}

// Nothing stands for none, unless there are no units.
bool XnorInputs::Vector(int64_t index, const char* name, int64_t units,
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

int64_t XnorOutputKind(TF_OpKernelContext* context) {
  const TF_DataType type = TF_ExpectedOutputDataType(context, 0);
  return type == TF_FLOAT   ? XnorInputs::kFloats
         : type == TF_INT32 ? XnorInputs::kSums
                            : XnorInputs::kBits;
}

void CheckXnorResult(int result, const Tensor& inputs, Status* status) {
  if (result == KC_XNOR_NAN) {
    InvalidNan(inputs, status);
  } else if (result == KC_XNOR_MEMORY) {
    TF_SetStatus(status->get(), TF_RESOURCE_EXHAUSTED,
                 "No memory for the packed signs of a product");
  } else if (result != KC_XNOR_OK) {
    status->Invalid("A size of a product of signs is out of range");
  }
}

}  // namespace keras_compress
