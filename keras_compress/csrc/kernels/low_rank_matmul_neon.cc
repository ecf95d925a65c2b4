// The product with panels, 4 columns to a vector.
//   vfmaq_f32     FMLA (V.4S, V.4S, V.4S)
//   vld1q_dup_f32 LD1R (V.4S)
#include <arm_neon.h>
#include <stdint.h>

#include "low_rank_matmul.h"

namespace keras_compress {
namespace {

#include "low_rank_tiles.h"
#include "neon_lanes.h"

struct Lanes : Floats4 {
  static Type Relu(Type a) {
    return vbslq_f32(vcltq_f32(a, Zero()), Zero(), a);
  }
};

struct Neon {
  static constexpr int64_t kRows = 6;
  // One row takes whole panels, as they lie; more of them 16 columns.
  static void Panel(const PanelProduct& p, const Columns& c, int64_t row,
                    int64_t row_end) {
    if (row_end - row == 1 && c.width == kPanelColumns) {
      Tiles<Lanes, 1, 16, false>(p, c, row, row_end);
    } else {
      Narrow<Lanes, 6, 4>(p, c, row, row_end);
    }
  }
};

const LowRankKernels kKernels = {Product<Neon>};

}  // namespace

const LowRankKernels* LowRankKernelsNeon() { return &kKernels; }

}  // namespace keras_compress
