// The reference of the integer product: three plain loops, no cleverness.
#include <stdint.h>

#include "integer_matmul.h"

namespace keras_compress {
namespace {

#include "integer_finish.h"

int32_t Weight(const IntegerWeights& weights, int64_t k, int64_t n) {
  const int64_t inputs_of_step = weights.bits == 8 ? 4 : 8;
  const int64_t step =
      n / kIntegerPanel * PanelSteps(weights) + k / inputs_of_step;
  const int8_t byte =
      weights.panels[(step * kIntegerPanel + n % kIntegerPanel) * 4 + k % 4];
  if (weights.bits == 8) return byte;
  const int32_t low = static_cast<int32_t>(static_cast<uint8_t>(byte) & 15u);
  return k % 8 < 4 ? (low < 8 ? low : low - 16) : byte >> 4;
}

void Product(const IntegerWeights* weights, const void* prepared,
             const IntegerRows*, const IntegerOutput* output, int64_t row,
             int64_t row_end, int64_t panel, int64_t panel_end) {
  const int64_t end = panel_end * kIntegerPanel < weights->units
                          ? panel_end * kIntegerPanel
                          : weights->units;
  for (; row < row_end; ++row) {
    const int16_t* x = static_cast<const int16_t*>(prepared) +
                       row * PaddedInputs(weights->inputs);
    for (int64_t n = panel * kIntegerPanel; n < end; ++n) {
      int32_t sum = weights->bias[n];
      for (int64_t k = 0; k < weights->inputs; ++k) {
        sum += x[k] * Weight(*weights, k, n);
      }
      Finish(*output, weights->units, row, n, 1, &sum);
    }
  }
}

const IntegerKernels kKernels = {RowBytes16, Prepare16, Product};

}  // namespace

const IntegerKernels* IntegerKernelsScalar() { return &kKernels; }

}  // namespace keras_compress
