// The op KcXnorNetwork: rows times one layer of packed weights after another,
// as KcXnorMatmul, with all layers in one tensor. TensorFlow looks at every
// input of an op that is called eagerly for longer than a small layer takes.
//
// The tensor is a header of 32-bit words,
//
//   layers, then for each: inputs, units, flags
//
// and then for each layer its arrays, in this order: signs, masks, kept,
// thresholds, flips, scale, bias, where those from masks on are there if their
// flag is set (kept always, thresholds and flips together). The header and
// every array are filled up to whole groups of 16 words.
#include <vector>

#include "register.h"
#include "xnor_inputs.h"

namespace keras_compress {
namespace {

enum Flag : uint32_t { kMasks = 1, kLimits = 2, kScale = 4, kBias = 8 };

constexpr int64_t kGroup = 16;
// More than any network has, and few enough to add up without overflow.
constexpr int64_t kMostLayers = 1 << 16;

int64_t Filled(int64_t words) { return (words + kGroup - 1) / kGroup * kGroup; }

// Takes arrays from a tensor one by one, as long as there are some.
class Reader {
 public:
  Reader(const uint32_t* words, int64_t size) : words_(words), size_(size) {}

  template <class T>
  const T* Take(int64_t count) {
    if (count < 0 || Filled(count) > size_ - next_) {
      good_ = false;
      return nullptr;
    }
    const uint32_t* found = words_ + next_;
    next_ += Filled(count);
    return reinterpret_cast<const T*>(found);
  }

  // Whether all arrays were there, and nothing else.
  bool AllTaken() const { return good_ && next_ == size_; }

 private:
  const uint32_t* words_;
  int64_t size_;
  int64_t next_ = 0;
  bool good_ = true;
};

bool ReadLayers(const Tensor& network, int64_t output,
                std::vector<KcXnorLayer>* layers, Status* status) {
  if (!network.CheckRank("network", 1, status)) return false;
  const int64_t size = network.dim(0);
  const uint32_t* header = network.data<uint32_t>();
  const int64_t count = size > 0 ? header[0] : 0;
  Reader reader(header, size);
  if (count < 1 || count > kMostLayers ||
      reader.Take<uint32_t>(1 + 3 * count) == nullptr) {
    return status->Invalid("`network` does not begin with a list of layers");
  }
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t* words = header + 1 + 3 * i;
    KcXnorLayer layer = {};
    layer.inputs = words[0];
    layer.units = words[1];
    const uint32_t flags = words[2];
    layer.output = (flags & kLimits) != 0 ? XnorInputs::kBits : output;
    const int64_t wanted = i + 1 < count ? XnorInputs::kBits : output;
    if (layer.output != wanted ||
        ((flags & kLimits) == 0 && wanted == XnorInputs::kBits)) {
      return status->Invalid(
          "All layers that give bits need thresholds, and no other does");
    }
    const int64_t panels =
        (layer.units + 15) / 16 * ((layer.inputs + 31) / 32) * 16;
    layer.signs = reader.Take<uint32_t>(panels);
    if ((flags & kMasks) != 0) layer.masks = reader.Take<uint32_t>(panels);
    layer.kept = reader.Take<int32_t>(layer.units);
    if ((flags & kLimits) != 0) {
      layer.thresholds = reader.Take<int32_t>(layer.units);
      layer.flips = reader.Take<uint32_t>((layer.units + 31) / 32);
    }
    if ((flags & kScale) != 0) layer.scale = reader.Take<float>(layer.units);
    if ((flags & kBias) != 0) layer.bias = reader.Take<float>(layer.units);
    layers->push_back(layer);
  }
  return reader.AllTaken() ||
         status->Invalid("`network` is not as long as its layers need");
}

bool CheckRows(const Tensor& rows, bool packed, int64_t width, Status* status) {
  if (!rows.CheckRank("rows", 2, status)) return false;
  const int64_t expected = packed ? (width + 31) / 32 : width;
  if (rows.dim(1) == expected) return true;
  return status->Invalid("`rows` must have " + std::to_string(expected) +
                         (packed ? " words" : " numbers") + " for " +
                         std::to_string(width) + " inputs. Received: shape " +
                         rows.shape());
}

void Compute(void*, TF_OpKernelContext* context) {
  Status status;
  const Tensor rows = Tensor::Input(context, 0, &status);
  const Tensor network = Tensor::Input(context, 1, &status);
  const bool packed = TF_InputDatatype(context, 0) == TF_UINT32;
  const TF_DataType type = TF_ExpectedOutputDataType(context, 0);
  const int64_t output = XnorOutputKind(context);
  std::vector<KcXnorLayer> layers;
  if (status.ok() && ReadLayers(network, output, &layers, &status) &&
      CheckRows(rows, packed, layers[0].inputs, &status)) {
    const int64_t units = layers.back().units;
    const int64_t dims[] = {
        rows.dim(0), output == XnorInputs::kBits ? (units + 31) / 32 : units};
    const Tensor outputs = Tensor::Output(context, dims, 2, &status, type);
    if (status.ok()) {
      const int result = kc_xnor_chain(
          layers.data(), static_cast<int64_t>(layers.size()), packed,
          rows.data<void>(), dims[0], outputs.data<void>());
      if (result == KC_XNOR_ARGUMENT) {
        status.Invalid("The layers of `network` do not follow each other");
      } else {
        CheckXnorResult(result, rows, &status);
      }
    }
  }
  if (!status.ok()) TF_OpKernelContext_Failure(context, status.get());
}

// How many outputs there are stands in a tensor, which is not known yet.
void Infer(TF_ShapeInferenceContext* context, TF_Status* status) {
  TF_ShapeInferenceContextSetUnknownShape(context, status);
}

}  // namespace

void RegisterXnorNetwork() {
  TF_OpDefinitionBuilder* builder = TF_NewOpDefinitionBuilder("KcXnorNetwork");
  TF_OpDefinitionBuilderAddAttr(builder, "T: {float, uint32}");
  TF_OpDefinitionBuilderAddAttr(builder, "Tout: {float, int32, uint32}");
  TF_OpDefinitionBuilderAddInput(builder, "rows: T");
  TF_OpDefinitionBuilderAddInput(builder, "network: uint32");
  TF_OpDefinitionBuilderAddOutput(builder, "outputs: Tout");
  TF_OpDefinitionBuilderSetShapeInferenceFunction(builder, Infer);
  RegisterOp(builder);
  RegisterCpuKernel("KcXnorNetwork", nullptr, Compute, nullptr);
}

}  // namespace keras_compress
