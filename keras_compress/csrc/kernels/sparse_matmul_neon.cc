// The sparse product, 4 rows to a vector.
//   vfmaq_f32     FMLA (V.4S, V.4S, V.4S)
//   vld1q_dup_f32 LD1R (V.4S)
//   vtrn1q, vtrn2q 4 x 4 transpose
//   vmaxq_u16/u32 UMAX (V.8H, V.4S)
#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>

#include "sparse_matmul.h"

namespace keras_compress {
namespace {

#include "sparse_lanes.h"

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
  static constexpr int kLanes = 4;

  // Rows that the panel of a tile of `count` rows has.
  static int64_t PanelRows(int64_t count) {
    if (count <= 1) return 1;
    if (count <= 4) return 4;
    if (count <= 8) return 8;
    if (count <= 16) return 16;
    return 32;
  }

  template <class Index, class Rows>
  static void Tiles(const SparseWeights& weights, const Rows& rows, int64_t row,
                    int64_t count, float* outputs, float* panel) {
    if (count <= 4) {
      Tile<Lanes4, 1, 4, Index>(weights, rows, row, count, outputs, panel);
    } else if (count <= 8) {
      Tile<Lanes4, 2, 4, Index>(weights, rows, row, count, outputs, panel);
    } else if (count <= 16) {
      Tile<Lanes4, 4, 2, Index>(weights, rows, row, count, outputs, panel);
    } else {
      Tile<Lanes4, 8, 2, Index>(weights, rows, row, count, outputs, panel);
    }
  }
};

uint32_t MaxIndex(const void* indices, int index_bytes, int64_t count) {
  uint32_t largest = 0;
  int64_t p = 0;
  if (index_bytes == 2) {
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
