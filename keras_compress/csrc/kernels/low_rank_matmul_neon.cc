// The product with panels, 4 columns to a vector.
//   vfmaq_f32     FMLA (V.4S, V.4S, V.4S)
//   vld1q_dup_f32 LD1R (V.4S)
#include <arm_neon.h>
#include <stdint.h>

#include "low_rank_matmul.h"

namespace keras_compress {
namespace {

#include "low_rank_tiles.h"

struct Lanes4 {
  using Type = float32x4_t;
  static constexpr int kLanes = 4;
  static Type Zero() { return vdupq_n_f32(0.0f); }
  static Type Load(const float* from) { return vld1q_f32(from); }
  static Type LoadPart(const float* from, int64_t count) {
    float part[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (int64_t i = 0; i < count; ++i) part[i] = from[i];
    return vld1q_f32(part);
  }
  static void Store(float* to, Type value) { vst1q_f32(to, value); }
  static void StorePart(float* to, Type value, int64_t count) {
    float part[4];
    vst1q_f32(part, value);
    for (int64_t i = 0; i < count; ++i) to[i] = part[i];
  }
  static Type Broadcast(const float* from) { return vld1q_dup_f32(from); }
  static Type Fma(Type a, Type b, Type c) { return vfmaq_f32(c, a, b); }
  static Type Add(Type a, Type b) { return vaddq_f32(a, b); }
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
      Tiles<Lanes4, 1, 16, false>(p, c, row, row_end);
    } else {
      Narrow<Lanes4, 6, 4>(p, c, row, row_end);
    }
  }
};

const LowRankKernels kKernels = {Product<Neon>};

}  // namespace

const LowRankKernels* LowRankKernelsNeon() { return &kKernels; }

}  // namespace keras_compress
