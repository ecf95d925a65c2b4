// The contract of the product of dense rows with a dense matrix in panels, of
// which two in a row are a low-rank layer.
//
//   y[m][n] = finish(bias[n] + sum over k of x[m][k] * w[k][n])
//
// Every level computes, for every output, exactly this chain:
//
//   acc = +0
//   for k in ascending order: acc = fma(x[m][k], w[k][n], acc)
//   y = acc + bias[n]         (no addition where there is no bias)
//   y = y < 0 ? +0 : y        (with relu; NaN stays)
//
// so that levels agree bit for bit, whatever they work on together.
//
// Panels: 64 columns after one another, the last panel only as many as are
// left, filled up with zeros to a multiple of 16. A panel of width w is
// [inputs][w].
#ifndef KERAS_COMPRESS_CSRC_KERNELS_LOW_RANK_MATMUL_H_
#define KERAS_COMPRESS_CSRC_KERNELS_LOW_RANK_MATMUL_H_

#include <stdint.h>

namespace keras_compress {

constexpr int64_t kPanelColumns = 64;

struct PanelProduct {
  int64_t inputs;
  int64_t units;
  const float* panels;
  const float* bias;  // [units], or null
  bool relu;
  const float* x;    // [rows][x_stride]
  int64_t x_stride;  // at least inputs
  float* y;          // [rows][y_stride]
  int64_t y_stride;  // at least units
};

struct LowRankKernels {
  // The outputs of rows [row, row_end) in panels [panel, panel_end).
  void (*product)(const PanelProduct* product, int64_t row, int64_t row_end,
                  int64_t panel, int64_t panel_end);
};

// The columns of a panel.
inline int64_t PanelWidth(int64_t units, int64_t panel) {
  const int64_t left = units - panel * kPanelColumns;
  return left < kPanelColumns ? left : kPanelColumns;
}

// One table for each level; a level exists only where its file is compiled.
const LowRankKernels* LowRankKernelsScalar();
const LowRankKernels* LowRankKernelsAvx2();
const LowRankKernels* LowRankKernelsAvx512();
const LowRankKernels* LowRankKernelsNeon();

}  // namespace keras_compress

#endif  // KERAS_COMPRESS_CSRC_KERNELS_LOW_RANK_MATMUL_H_
