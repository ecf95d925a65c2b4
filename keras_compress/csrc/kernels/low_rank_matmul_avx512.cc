// The product with panels, 16 columns to a vector.
//   vfmadd231ps zmm, vbroadcastss zmm; AVX512F
#include <immintrin.h>
#include <stdint.h>

#include "low_rank_matmul.h"

namespace keras_compress {
namespace {

#include "avx512_lanes.h"
#include "low_rank_tiles.h"

struct Lanes : Floats16 {
  // The second operand where one is NaN, or both are zero.
  static Type Relu(Type a) { return _mm512_max_ps(_mm512_setzero_ps(), a); }
};

// 24 sums hide the latency of fma twice a cycle, and leave room for 4 vectors
// of weights and a number of each row.
struct Avx512 {
  static constexpr int64_t kRows = 6;
  static void Panel(const PanelProduct& p, Columns c, int64_t row,
                    int64_t row_end) {
    c.part = (c.width - 1) % 16 + 1;
    const auto tiles = c.width == 64  ? Tiles<Lanes, 6, 4, false>
                       : c.width > 48 ? Tiles<Lanes, 6, 4, true>
                       : c.width > 32 ? Tiles<Lanes, 8, 3, true>
                       : c.width > 16 ? Tiles<Lanes, 12, 2, true>
                                      : Tiles<Lanes, 12, 1, true>;
    tiles(p, c, row, row_end);
  }
};

const LowRankKernels kKernels = {Product<Avx512>};

}  // namespace

const LowRankKernels* LowRankKernelsAvx512() { return &kKernels; }

}  // namespace keras_compress
