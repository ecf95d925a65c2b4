// The integer product with NEON, exact at 8 bits and at 16.
//   vmull_s16    SMULL (4 products of 16 bits)
//   vpaddq_s32   ADDP (sums of pairs)
//   vdup_n_s32   DUP
#include <arm_neon.h>
#include <stdint.h>
#include <string.h>

#include "integer_matmul.h"

namespace keras_compress {
namespace {

#include "integer_finish.h"
#include "integer_lanes.h"

struct Lanes4 : Rows16<Lanes4> {
  static constexpr int kUnits = 4;
  static constexpr int kInputs = 4;
  static constexpr int kVectors = 4;
  static constexpr int kRows = 4;
  static constexpr int kAlone = 1;
  using Sums = int32x4_t;
  using Input = int16x4_t;
  // The 4 inputs of units 0 and 1, and of units 2 and 3.
  struct Weight {
    int16x8_t one, other;
  };
  static Sums Zero() { return vdupq_n_s32(0); }
  static Input Broadcast(const int16_t* row) { return vld1_s16(row); }
  static Weight Weights(const int8_t* from) {
    const int8x16_t bytes = vld1q_s8(from);
    return {vmovl_s8(vget_low_s8(bytes)), vmovl_s8(vget_high_s8(bytes))};
  }
  static Weight Low(const int8_t* from) {
    const Weight both = Weights(from);
    return {vshrq_n_s16(vshlq_n_s16(both.one, 12), 12),
            vshrq_n_s16(vshlq_n_s16(both.other, 12), 12)};
  }
  static Weight High(const int8_t* from) {
    const Weight both = Weights(from);
    return {vshrq_n_s16(both.one, 4), vshrq_n_s16(both.other, 4)};
  }
  static Sums Multiply(Sums sums, Input input, Weight weight) {
    const int32x4_t low =
        vpaddq_s32(vmull_s16(vget_low_s16(weight.one), input),
                   vmull_s16(vget_high_s16(weight.one), input));
    const int32x4_t high =
        vpaddq_s32(vmull_s16(vget_low_s16(weight.other), input),
                   vmull_s16(vget_high_s16(weight.other), input));
    return vaddq_s32(sums, vpaddq_s32(low, high));
  }
  static Sums Add(Sums a, Sums b) { return vaddq_s32(a, b); }
  static void Store(Sums sums, int32_t* to, bool) { vst1q_s32(to, sums); }
};

// Weights of 16 bits, two to a sum: sums that leave 32 bits on the way come
// back.
struct Words4 : Rows16<Words4> {
  static constexpr int kUnits = 4;
  static constexpr int kInputs = 2;
  static constexpr int kVectors = 4;
  static constexpr int kRows = 4;
  static constexpr int kAlone = 1;
  using Sums = int32x4_t;
  using Weight = int16x8_t;
  using Input = int16x4_t;
  static Sums Zero() { return vdupq_n_s32(0); }
  static Input Broadcast(const int16_t* row) {
    int32_t two;
    memcpy(&two, row, sizeof(two));
    return vreinterpret_s16_s32(vdup_n_s32(two));
  }
  static Weight Weights(const int8_t* from) {
    return vreinterpretq_s16_s8(vld1q_s8(from));
  }
  static Weight Low(const int8_t* from) { return Weights(from); }
  static Weight High(const int8_t* from) { return Weights(from); }
  static Sums Multiply(Sums sums, Input input, Weight weight) {
    const int32x4_t both = vpaddq_s32(vmull_s16(vget_low_s16(weight), input),
                                      vmull_s16(vget_high_s16(weight), input));
    return vaddq_s32(sums, both);
  }
  static Sums Add(Sums a, Sums b) { return vaddq_s32(a, b); }
  static void Store(Sums sums, int32_t* to, bool) { vst1q_s32(to, sums); }
};

const IntegerKernels kWords = {Words4::kRows,   RowBytes16, Prepare16,
                               Product<Words4>, nullptr,    nullptr};
const IntegerKernels kKernels = {Lanes4::kRows,   RowBytes16, Prepare16,
                                 Product<Lanes4>, nullptr,    &kWords};

}  // namespace

const IntegerKernels* IntegerKernelsNeon() { return &kKernels; }

}  // namespace keras_compress
