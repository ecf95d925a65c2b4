// The reference of the product with panels: three plain loops, no cleverness.
#include <cmath>

#include "low_rank_matmul.h"

namespace keras_compress {
namespace {

void Product(const PanelProduct* product, int64_t row, int64_t row_end,
             int64_t panel, int64_t panel_end) {
  const PanelProduct& p = *product;
  const int64_t end =
      panel_end * kPanelColumns < p.units ? panel_end * kPanelColumns : p.units;
  for (; row < row_end; ++row) {
    for (int64_t n = panel * kPanelColumns; n < end; ++n) {
      const int64_t width = PanelWidth(p.units, n / kPanelColumns);
      const float* weight =
          p.panels + n / kPanelColumns * kPanelColumns * p.inputs;
      float acc = 0.0f;
      for (int64_t k = 0; k < p.inputs; ++k) {
        acc = std::fma(p.x[row * p.x_stride + k],
                       weight[k * width + n % kPanelColumns], acc);
      }
      if (p.bias != nullptr) acc += p.bias[n];
      if (p.relu && acc < 0.0f) acc = 0.0f;
      p.y[row * p.y_stride + n] = acc;
    }
  }
}

const LowRankKernels kKernels = {Product};

}  // namespace

const LowRankKernels* LowRankKernelsScalar() { return &kKernels; }

}  // namespace keras_compress
