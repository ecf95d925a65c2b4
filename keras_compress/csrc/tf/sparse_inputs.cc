// Reads and checks the inputs of the sparse ops.
#include "sparse_inputs.h"

#include <string.h>

namespace keras_compress {
namespace {

struct Layout {
  const char* name;
  std::vector<const char*> parts;
};

// In the order of SparseLayout.
const std::vector<Layout>& Layouts() {
  static const std::vector<Layout> layouts = {
      {"csc", {"values", "indices", "starts"}},
      {"panel16", {"values", "indices", "starts"}},
      {"lanes", {"values", "indices", "starts", "windows", "order"}},
      {"kblock", {"values", "indices", "segments"}}};
  return layouts;
}

TF_DataType TypeOf(const char* part, int64_t layout, TF_DataType received) {
  if (strcmp(part, "values") == 0) return TF_FLOAT;
  if (strcmp(part, "windows") == 0) return TF_UINT16;
  if (strcmp(part, "segments") == 0) return TF_UINT8;
  if (strcmp(part, "indices") != 0) return TF_INT32;
  if (layout >= kSparseLanes) return TF_UINT8;
  if (layout == kSparsePanels) return TF_UINT16;
  return received == TF_INT32 ? TF_INT32 : TF_UINT16;
}

const char* NameOf(TF_DataType type) {
  switch (type) {
    case TF_FLOAT:
      return "float32";
    case TF_INT32:
      return "int32";
    case TF_UINT16:
      return "uint16";
    default:
      return "uint8";
  }
}

int64_t Parts(int64_t whole, int64_t part) { return (whole + part - 1) / part; }

bool CheckLength(const char* name, int64_t length, int64_t expected,
                 const char* why, Status* status) {
  if (length == expected) return true;
  return status->Invalid("`" + std::string(name) + "` must be of length " +
                         std::to_string(expected) + ", " + why +
                         ". Received: length " + std::to_string(length));
}

// The first start that is wrong, said in words.
std::string WrongStart(const KcSparseMatrix& m) {
  const int32_t* starts = m.starts;
  if (starts[0] != 0) return "starts[0]=" + std::to_string(starts[0]);
  for (int64_t n = 1; n < m.start_count; ++n) {
    if (starts[n] < starts[n - 1]) {
      return "starts[" + std::to_string(n - 1) +
             "]=" + std::to_string(starts[n - 1]) + " and starts[" +
             std::to_string(n) + "]=" + std::to_string(starts[n]);
    }
  }
  return "starts[" + std::to_string(m.start_count - 1) +
         "]=" + std::to_string(starts[m.start_count - 1]);
}

// The first index that is wrong, said in words.
std::string WrongIndex(const KcSparseMatrix& m) {
  const int64_t end = m.layout == kSparseBlocks ? kSparseBlock : m.inputs;
  for (int64_t p = 0; p < m.index_count; ++p) {
    const int64_t index =
        m.index_bytes == 1 ? int64_t{static_cast<const uint8_t*>(m.indices)[p]}
        : m.index_bytes == 2
            ? int64_t{static_cast<const uint16_t*>(m.indices)[p]}
            : int64_t{static_cast<const int32_t*>(m.indices)[p]};
    if (index < 0 || index >= end) {
      return "indices[" + std::to_string(p) + "]=" + std::to_string(index);
    }
  }
  return "an index behind the last input of the last block";
}

}  // namespace

bool ReadLayout(TF_OpKernelConstruction* construction, int64_t* layout,
                Status* status) {
  char name[16] = "";  // the definition allows no other
  TF_OpKernelConstruction_GetAttrString(construction, "layout", name,
                                        sizeof(name) - 1, status->get());
  *layout = 0;
  for (size_t i = 0; i < Layouts().size(); ++i) {
    if (strcmp(name, Layouts()[i].name) == 0) {
      *layout = static_cast<int64_t>(i);
    }
  }
  return status->ok();
}

SparseInputs::SparseInputs(TF_OpKernelContext* context, int64_t layout,
                           Status* status)
    : inputs(Tensor::Input(context, 0, status)),
      bias(Tensor::Input(context, 1, status)),
      layout_(layout) {
  const int expected = static_cast<int>(Layouts()[layout].parts.size());
  const int received = TF_NumInputs(context) - 2;
  if (!status->ok()) return;
  if (received != expected) {
    status->Invalid("`parts` must be " + std::to_string(expected) +
                    " tensors for layout '" + Layouts()[layout].name +
                    "'. Received: " + std::to_string(received));
    return;
  }
  for (int i = 0; i < expected && status->ok(); ++i) {
    types_.push_back(TF_InputDatatype(context, 2 + i));
    parts_.push_back(Tensor::Input(context, 2 + i, status));
  }
}

bool SparseInputs::Check(int64_t input_dim, Status* status) {
  if (!status->ok() || !bias.CheckRank("bias", 1, status)) return false;
  KcSparseMatrix& m = matrix_;
  m.layout = layout_;
  m.inputs = input_dim;
  m.units = units();
  m.bias = bias.data<float>();
  for (size_t i = 0; i < parts_.size(); ++i) {
    const char* name = Layouts()[layout_].parts[i];
    const Tensor& part = parts_[i];
    if (!part.CheckRank(name, 1, status)) return false;
    const TF_DataType type = TypeOf(name, layout_, types_[i]);
    if (types_[i] != type) {
      return status->Invalid("`" + std::string(name) + "` must be of type " +
                             NameOf(type) + " for layout '" +
                             Layouts()[layout_].name +
                             "'. Received: " + NameOf(types_[i]));
    }
    const int64_t length = part.dim(0);
    if (strcmp(name, "values") == 0) {
      m.values = part.data<float>();
      m.value_count = length;
    } else if (strcmp(name, "indices") == 0) {
      m.indices = part.data<void>();
      m.index_count = length;
      m.index_bytes = type == TF_UINT8 ? 1 : type == TF_UINT16 ? 2 : 4;
    } else if (strcmp(name, "starts") == 0) {
      m.starts = part.data<int32_t>();
      m.start_count = length;
    } else if (strcmp(name, "windows") == 0) {
      m.windows = part.data<uint16_t>();
      m.window_count = length;
    } else if (strcmp(name, "order") == 0) {
      m.order = part.data<int32_t>();
      m.order_count = length;
    } else {
      m.segments = part.data<uint8_t>();
      m.segment_bytes = length;
    }
  }
  if (layout_ == kSparsePanels) {
    return CheckLength("values", m.value_count, m.index_count * kSparsePanel,
                       "16 for each index", status) &&
           CheckLength("starts", m.start_count,
                       Parts(m.units, kSparsePanel) + 1,
                       "one more than panels of 16 units", status);
  }
  if (!CheckLength("indices", m.index_count, m.value_count,
                   "as long as `values`", status)) {
    return false;
  }
  if (layout_ == kSparseColumns) {
    return CheckLength("starts", m.start_count, m.units + 1,
                       "one more than `bias`", status);
  }
  if (layout_ == kSparseBlocks) {
    return CheckLength("segments", m.segment_bytes,
                       2 * m.units * Parts(m.inputs, kSparseBlock),
                       "2 for each unit and block of 96 inputs", status);
  }
  const int64_t groups = Parts(m.units, kSparseGroup);
  return CheckLength("values", m.value_count, m.window_count * kSparseGroup,
                     "32 for each of `windows`", status) &&
         CheckLength("starts", m.start_count, groups + 1,
                     "one more than groups of 32 units", status) &&
         CheckLength("order", m.order_count, groups * kSparseGroup,
                     "32 for each group of 32 units", status);
}

bool SparseInputs::CheckResult(int result, Status* status) const {
  const KcSparseMatrix& m = matrix_;
  switch (result) {
    case KC_SPARSE_OK:
      return true;
    case KC_SPARSE_STARTS: {
      const int64_t end =
          m.layout == kSparseLanes ? m.window_count : m.index_count;
      return status->Invalid(
          "`starts` must begin with 0, never fall, and end with the number of "
          "what is stored, " +
          std::to_string(end) + ". Received: " + WrongStart(m));
    }
    case KC_SPARSE_INDICES:
      return status->Invalid(
          "`indices` must be in [0, " +
          std::to_string(m.layout == kSparseBlocks ? kSparseBlock : m.inputs) +
          "). Received: " + WrongIndex(m));
    case KC_SPARSE_WINDOWS:
      return status->Invalid("`windows` must begin before input " +
                             std::to_string(m.inputs) +
                             ". Received: one that does not");
    case KC_SPARSE_ORDER:
      return status->Invalid(
          "`order` must be every number below its length once. Received: one "
          "that is twice there, or out of range");
    case KC_SPARSE_SEGMENTS:
      return status->Invalid(
          "`segments` must be places in a chunk and lengths that never rise "
          "within a block and sum to the number of values, " +
          std::to_string(m.value_count) + ". Received: others");
    case KC_SPARSE_MEMORY:
      TF_SetStatus(status->get(), TF_RESOURCE_EXHAUSTED,
                   "No memory for a panel of the inputs of a sparse product");
      return false;
    default:
      return status->Invalid("A size of a sparse product is out of range");
  }
}

void AddSparseInputs(TF_OpDefinitionBuilder* builder) {
  TF_OpDefinitionBuilderAddAttr(
      builder, "layout: {'csc', 'panel16', 'lanes', 'kblock'}");
  TF_OpDefinitionBuilderAddAttr(builder,
                                "T: list({float, int32, uint8, uint16}) >= 3");
  TF_OpDefinitionBuilderAddInput(builder, "inputs: float");
  TF_OpDefinitionBuilderAddInput(builder, "bias: float");
  TF_OpDefinitionBuilderAddInput(builder, "parts: T");
  TF_OpDefinitionBuilderAddOutput(builder, "outputs: float");
}

}  // namespace keras_compress
