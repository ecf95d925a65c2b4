// The reference of the integer product: three plain loops, no cleverness.
#include <stdint.h>

#include "integer_matmul.h"

namespace keras_compress {
namespace {

#include "integer_finish.h"

// Weight i of a unit's bytes in a step.
int32_t Weight(const int8_t* of_unit, int bits, int64_t i) {
  if (bits == 8) return of_unit[i];
  if (bits == 16) {
    const int32_t low = static_cast<uint8_t>(of_unit[2 * i]);
    return of_unit[2 * i + 1] * 256 + low;
  }
  const int8_t byte = of_unit[i % 4];
  const int32_t low = static_cast<int32_t>(static_cast<uint8_t>(byte) & 15u);
  return i < 4 ? (low < 8 ? low : low - 16) : byte >> 4;
}

void Product(const IntegerWeights* weights, const void* prepared,
             const IntegerRows*, const IntegerOutput* output, int64_t row,
             int64_t row_end, int64_t panel, int64_t panel_end) {
  const int64_t end = panel_end * kIntegerPanel < weights->units
                          ? panel_end * kIntegerPanel
                          : weights->units;
  const int64_t width = StepInputs(*weights);
  for (; row < row_end; ++row) {
    const int16_t* x = static_cast<const int16_t*>(prepared) +
                       row * PaddedInputs(weights->inputs);
    for (int64_t n = panel * kIntegerPanel; n < end; ++n) {
      int32_t sum = weights->bias[n];
      const IntegerSteps steps = StepsOf(*weights, n / kIntegerPanel);
      for (int64_t s = 0; s < steps.count; ++s) {
        const int8_t* of_unit = steps.bytes + 64 * s + n % kIntegerPanel * 4;
        const int64_t first =
            width * (steps.indices == nullptr ? s : steps.indices[s]);
        for (int64_t i = 0; i < width && first + i < weights->inputs; ++i) {
          sum += x[first + i] * Weight(of_unit, weights->bits, i);
        }
      }
      Finish(*output, weights->units, row, n, 1, &sum);
    }
  }
}

const IntegerKernels kKernels = {1,       RowBytes16, Prepare16,
                                 Product, nullptr,    nullptr};

}  // namespace

const IntegerKernels* IntegerKernelsScalar() { return &kKernels; }

}  // namespace keras_compress
