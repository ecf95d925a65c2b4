// The ops KcIntegerMatmul and KcIntegerBlocksMatmul: rows of numbers times
// packed integers, all of them or blocks.
#include <utility>

#include "../kernels/integer_api.h"
#include "op_context.h"
#include "register.h"
#include "rows_shape.h"

namespace keras_compress {
namespace {

constexpr int kAttributes = 10;
const char* const kNames[kAttributes] = {
    "inputs",   "bits",       "fraction",   "low",         "high",
    "rounding", "requantize", "output_low", "output_high", "output_rounding"};

struct Attributes {
  int64_t values[kAttributes];
};

void* Create(TF_OpKernelConstruction* construction) {
  Status status;
  Attributes* a = new Attributes();
  for (int i = 0; i < kAttributes && status.ok(); ++i) {
    TF_OpKernelConstruction_GetAttrInt64(construction, kNames[i], &a->values[i],
                                         status.get());
  }
  if (!status.ok()) {
    TF_OpKernelConstruction_Failure(construction, status.get());
  }
  return a;
}

void Delete(void* attributes) { delete static_cast<Attributes*>(attributes); }

int64_t KindOf(TF_DataType type) {
  switch (type) {
    case TF_INT32:
      return 1;
    case TF_INT8:
      return 2;
    case TF_UINT8:
      return 3;
    case TF_INT16:
      return 4;
    default:
      return 0;
  }
}

size_t BytesOf(TF_DataType type) {
  if (type == TF_INT8 || type == TF_UINT8) return 1;
  return type == TF_INT16 ? 2 : 4;
}

// One number for each unit, or none at all where that is allowed.
template <class T>
bool Vector(const Tensor& tensor, const char* name, int64_t units,
            bool optional, const T** data, Status* status) {
  if (!tensor.CheckRank(name, 1, status)) return false;
  if (optional && tensor.dim(0) == 0) {
    *data = nullptr;
    return true;
  }
  if (tensor.dim(0) != units) {
    return status->Invalid("`" + std::string(name) + "` must be of length " +
                           std::to_string(units) + ". Received: shape " +
                           tensor.shape());
  }
  *data = tensor.data<T>();
  return true;
}

// Blocks [blocks, 16, 4], and where they are.
bool Blocks(const Tensor& panels, const Tensor& indices, const Tensor& starts,
            KcIntegerProduct* p, Status* status) {
  if (!panels.CheckRank("panels", 3, status)) return false;
  if (panels.dim(1) != 16 || panels.dim(2) != 4) {
    return status->Invalid(
        "`panels` must be of shape [blocks,16,4]. Received: shape " +
        panels.shape());
  }
  p->blocks = panels.dim(0);
  const int64_t ends = (p->units + 15) / 16 + 1;
  return Vector(indices, "indices", p->blocks, false, &p->indices, status) &&
         Vector(starts, "starts", ends, false, &p->starts, status);
}

bool CheckPanels(const Tensor& panels, const KcIntegerProduct& p,
                 Status* status) {
  if (!panels.CheckRank("panels", 4, status)) return false;
  if (p.bits != 16 && p.bits != 8 && p.bits != 4) {
    return status->Invalid("`bits` must be 16, 8 or 4. Received: " +
                           std::to_string(p.bits));
  }
  const int64_t width = 32 / p.bits;
  const int64_t dims[] = {(p.units + 15) / 16, (p.inputs + width - 1) / width,
                          16, 4};
  bool good = true;
  std::string expected = "[";
  for (int i = 0; i < 4; ++i) {
    good &= panels.dim(i) == dims[i];
    expected += (i > 0 ? "," : "") + std::to_string(dims[i]);
  }
  if (good) return true;
  return status->Invalid("`panels` must be of shape " + expected + "] for " +
                         std::to_string(p.inputs) + " inputs and " +
                         std::to_string(p.units) + " units of " +
                         std::to_string(p.bits) + " bits. Received: shape " +
                         panels.shape());
}

void Compute(void* kernel, TF_OpKernelContext* context) {
  const int64_t* a = static_cast<Attributes*>(kernel)->values;
  Status status;
  const Tensor rows = Tensor::Input(context, 0, &status);
  const Tensor panels = Tensor::Input(context, 1, &status);
  const Tensor sums = Tensor::Input(context, 2, &status);
  const Tensor bias = Tensor::Input(context, 3, &status);
  const Tensor shifts = Tensor::Input(context, 4, &status);
  const Tensor scales = Tensor::Input(context, 5, &status);
  const bool in_blocks = TF_NumInputs(context) == 8;
  const Tensor indices =
      in_blocks ? Tensor::Input(context, 6, &status) : Tensor();
  const Tensor starts =
      in_blocks ? Tensor::Input(context, 7, &status) : Tensor();
  if (!status.ok()) {
    TF_OpKernelContext_Failure(context, status.get());
    return;
  }
  const TF_DataType type = TF_ExpectedOutputDataType(context, 0);
  KcIntegerProduct p = {};
  p.inputs = a[0];
  p.bits = a[1];
  p.fraction = a[2];
  p.low = a[3];
  p.high = a[4];
  p.rounding = a[5];
  p.requantize = a[6];
  p.output_low = a[7];
  p.output_high = a[8];
  p.output_rounding = a[9];
  p.row_kind = KindOf(TF_InputDatatype(context, 0));
  p.output_kind = KindOf(type);
  const bool ranks =
      rows.CheckRank("rows", 2, &status) && bias.CheckRank("bias", 1, &status);
  if (ranks && rows.dim(1) != p.inputs) {
    status.Invalid("`rows` must have " + std::to_string(p.inputs) +
                   " numbers in a row. Received: shape " + rows.shape());
  }
  if (ranks && status.ok()) {
    p.units = bias.dim(0);
    p.panels = panels.data<int8_t>();
    p.bias = bias.data<int32_t>();
  }
  const bool packed =
      status.ok() && (in_blocks ? Blocks(panels, indices, starts, &p, &status)
                                : CheckPanels(panels, p, &status));
  if (packed &&
      Vector(sums, "column_sums", p.units, false, &p.column_sums, &status) &&
      Vector(shifts, "shifts", p.units, p.requantize == 0, &p.shifts,
             &status) &&
      Vector(scales, "scales", p.units, p.output_kind != 0, &p.scales,
             &status)) {
    const int64_t dims[] = {rows.dim(0), p.units};
    const Tensor outputs =
        Tensor::Output(context, dims, 2, &status, type, BytesOf(type));
    if (status.ok()) {
      const int result = kc_integer_matmul(&p, rows.data<void>(), dims[0],
                                           outputs.data<void>());
      if (result == KC_INTEGER_NAN) {
        status.Invalid(
            "`inputs` must be free of NaN, which is no fixed-point number");
      } else if (result == KC_INTEGER_MEMORY) {
        TF_SetStatus(status.get(), TF_RESOURCE_EXHAUSTED,
                     "No memory for the integers of a product");
      } else if (result != KC_INTEGER_OK) {
        status.Invalid(
            "A size, a limit, a shift or a block of a product of integers is "
            "out "
            "of range");
      }
    }
  }
  if (!status.ok()) TF_OpKernelContext_Failure(context, status.get());
}

// As many units as the bias has.
void Infer(TF_ShapeInferenceContext* context, TF_Status* status) {
  InferRows(context, 3, status);
}

void Register(const char* op, bool blocks) {
  TF_OpDefinitionBuilder* builder = TF_NewOpDefinitionBuilder(op);
  TF_OpDefinitionBuilderAddAttr(builder, "T: {float, int8, uint8, int16}");
  TF_OpDefinitionBuilderAddAttr(builder,
                                "Tout: {float, int32, int8, uint8, int16}");
  for (const char* name : kNames) {
    TF_OpDefinitionBuilderAddAttr(builder,
                                  (std::string(name) + ": int").c_str());
  }
  TF_OpDefinitionBuilderAddInput(builder, "rows: T");
  TF_OpDefinitionBuilderAddInput(builder, "panels: int8");
  TF_OpDefinitionBuilderAddInput(builder, "column_sums: int32");
  TF_OpDefinitionBuilderAddInput(builder, "bias: int32");
  TF_OpDefinitionBuilderAddInput(builder, "shifts: int32");
  TF_OpDefinitionBuilderAddInput(builder, "scales: float");
  if (blocks) {
    TF_OpDefinitionBuilderAddInput(builder, "indices: uint16");
    TF_OpDefinitionBuilderAddInput(builder, "starts: int32");
  }
  TF_OpDefinitionBuilderAddOutput(builder, "outputs: Tout");
  TF_OpDefinitionBuilderSetShapeInferenceFunction(builder, Infer);
  RegisterOp(builder);
  RegisterCpuKernel(op, Create, Compute, Delete);
}

}  // namespace

void RegisterIntegerMatmul() {
  Register("KcIntegerMatmul", false);
  Register("KcIntegerBlocksMatmul", true);
}

}  // namespace keras_compress
