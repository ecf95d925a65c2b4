// The sparse product, 4 rows to a vector.
//   vfmaq_f32     FMLA (V.4S, V.4S, V.4S)
//   vld1q_dup_f32 LD1R (V.4S)
//   vtrn1q, vtrn2q 4 x 4 transpose
//   vmaxq_u8/u16/u32 UMAX (V.16B, V.8H, V.4S)
#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "sparse_matmul.h"

namespace keras_compress {
namespace {

#include "neon_lanes.h"
#include "sparse_finish.h"
#include "sparse_lanes.h"
#include "sparse_rows.h"
#include "sparse_units.h"
// After what it puts together.
#include "sparse_level.h"

struct Lanes4 : Floats4 {
  static constexpr bool kLoadsAreDear = false;
  using Four = float32x4_t;
  static Four LoadFour(const float* from) { return vld1q_f32(from); }
  template <int i>
  static Type Of(Four four) {
    return vdupq_laneq_f32(four, i);
  }
  using Window = const float*;
  static Window At(const float* table, int64_t window) {
    return table + window * 4;
  }
  static Type Pick(Window window, const uint8_t* index) {
    const float lanes[4] = {window[index[0] & 31], window[index[1] & 31],
                            window[index[2] & 31], window[index[3] & 31]};
    return vld1q_f32(lanes);
  }
  static Type LowPairs(Type a, Type b) {
    return vreinterpretq_f32_f64(
        vtrn1q_f64(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b)));
  }
  static Type HighPairs(Type a, Type b) {
    return vreinterpretq_f32_f64(
        vtrn2q_f64(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b)));
  }
  static void Transpose(Type* r) {
    const Type a = vtrn1q_f32(r[0], r[1]);
    const Type b = vtrn2q_f32(r[0], r[1]);
    const Type c = vtrn1q_f32(r[2], r[3]);
    const Type d = vtrn2q_f32(r[2], r[3]);
    r[0] = LowPairs(a, c);
    r[1] = LowPairs(b, d);
    r[2] = HighPairs(a, c);
    r[3] = HighPairs(b, d);
  }
};

struct Neon {
  static constexpr int kTileCount = 4;
  static constexpr TileKind kTiles[kTileCount] = {
      MakeTile<Lanes4, 1, 4, 8>(), MakeTile<Lanes4, 2, 4, 8>(),
      MakeTile<Lanes4, 4, 2, 4>(), MakeTile<Lanes4, 8, 2, 2>()};
  static constexpr int kPanelTile = 2;
  static constexpr int kFewRows = 4;

  static void FewPanels(const SparseWeights& weights, const float* const* lines,
                        int64_t rows, float* outputs) {
    if (rows == 1) {
      FewPanelRows<Lanes4, 1, 4>(weights, lines, rows, outputs);
    } else if (rows == 2) {
      FewPanelRows<Lanes4, 2, 2>(weights, lines, rows, outputs);
    } else {
      FewPanelRows<Lanes4, 4, 1>(weights, lines, rows, outputs);
    }
  }

  static int64_t TableFloats(int64_t inputs) {
    return (inputs + kSparseWindow + 15) / 16 * 16;
  }
  static void MakeTable(const float* row, int64_t inputs, float* table) {
    PadRow(row, inputs, table);
  }
  static void Lanes(const SparseWeights& weights, const float* table,
                    float* outputs) {
    LaneProduct<Lanes4>(weights, table, outputs);
  }
};

uint32_t MaxIndex(const void* indices, int64_t index_bytes, int64_t count) {
  uint32_t largest = 0;
  int64_t p = 0;
  if (index_bytes == 1) {
    const uint8_t* from = static_cast<const uint8_t*>(indices);
    uint8x16_t most = vdupq_n_u8(0);
    for (; p + 16 <= count; p += 16) most = vmaxq_u8(most, vld1q_u8(from + p));
    largest = vmaxvq_u8(most);
    for (; p < count; ++p) largest = from[p] > largest ? from[p] : largest;
  } else if (index_bytes == 2) {
    const uint16_t* from = static_cast<const uint16_t*>(indices);
    uint16x8_t most = vdupq_n_u16(0);
    for (; p + 8 <= count; p += 8) most = vmaxq_u16(most, vld1q_u16(from + p));
    largest = vmaxvq_u16(most);
    for (; p < count; ++p) largest = from[p] > largest ? from[p] : largest;
  } else {
    const uint32_t* from = static_cast<const uint32_t*>(indices);
    uint32x4_t most = vdupq_n_u32(0);
    for (; p + 4 <= count; p += 4) most = vmaxq_u32(most, vld1q_u32(from + p));
    largest = vmaxvq_u32(most);
    for (; p < count; ++p) largest = from[p] > largest ? from[p] : largest;
  }
  return largest;
}

const SparseKernels kKernels = {Scratch<Neon>, Matmul<Neon>, Conv2d<Neon>,
                                MaxIndex};

}  // namespace

const SparseKernels* SparseKernelsNeon() { return &kKernels; }

}  // namespace keras_compress
