// The product with panels, 8 columns to a vector.
//   vfmadd231ps ymm, vbroadcastss ymm; AVX2, FMA
#include <immintrin.h>
#include <stdint.h>

#include "low_rank_matmul.h"

namespace keras_compress {
namespace {

#include "low_rank_tiles.h"
#include "x86_lanes.h"

struct Lanes : Lanes8 {
  static Type Relu(Type a) { return _mm256_max_ps(_mm256_setzero_ps(), a); }
};

struct Avx2 {
  static constexpr int64_t kRows = 6;
  // One row takes whole panels, as they lie; more of them 16 columns, for there
  // are 16 registers.
  static void Panel(const PanelProduct& p, const Columns& c, int64_t row,
                    int64_t row_end) {
    if (row_end - row == 1 && c.width == kPanelColumns) {
      Tiles<Lanes, 1, 8, false>(p, c, row, row_end);
    } else {
      Narrow<Lanes, 6, 2>(p, c, row, row_end);
    }
  }
};

const LowRankKernels kKernels = {Product<Avx2>};

}  // namespace

const LowRankKernels* LowRankKernelsAvx2() { return &kKernels; }

}  // namespace keras_compress
