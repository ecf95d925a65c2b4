// The product of packed signs, 4 units to a vector; bytes are counted up to 31
// words.
//   vcntq_u8                 CNT (16B)
//   vpaddlq_u8, vpadalq_u16  UADDLP, UADALP: bytes to uint32
#include <arm_neon.h>
#include <stdint.h>
#include <string.h>

#include "xnor_matmul.h"

namespace keras_compress {
namespace {

#include "xnor_finish.h"
#include "xnor_lanes.h"

struct Cnt4 {
  using Vec = uint32x4_t;
  static constexpr int kLanes = 4;
  static constexpr int kVectors = 4;
  static constexpr int kRows = 2;
  static constexpr int kPairs = 0;
  static constexpr int64_t kRoom = 31;
  static Vec Zero() { return vdupq_n_u32(0); }
  static Vec Load(const uint32_t* from) { return vld1q_u32(from); }
  template <int C>
  static void Together(Vec (&)[C]) {}
  static Vec LoadInts(const int32_t* from) {
    return vreinterpretq_u32_s32(vld1q_s32(from));
  }
  static Vec Broadcast(const uint32_t* from) { return vld1q_dup_u32(from); }
  static Vec Differ(Vec a, Vec b) { return veorq_u32(a, b); }
  static Vec DifferWhere(Vec a, Vec b, Vec mask) {
    return vandq_u32(veorq_u32(a, b), mask);
  }
  static Vec Ones(Vec x) {
    return vreinterpretq_u32_u8(vcntq_u8(vreinterpretq_u8_u32(x)));
  }
  static Vec Plus(Vec a, Vec b) {
    return vreinterpretq_u32_u8(
        vaddq_u8(vreinterpretq_u8_u32(a), vreinterpretq_u8_u32(b)));
  }
  static Vec Widen(Vec total, Vec count) {
    return vpadalq_u16(total, vpaddlq_u8(vreinterpretq_u8_u32(count)));
  }
  static Vec Sums(Vec kept, Vec total) {
    return vsubq_u32(kept, vaddq_u32(total, total));
  }
  static uint32_t Below(Vec sums, Vec thresholds) {
    const uint32_t bits[4] = {1, 2, 4, 8};
    const Vec below = vcltq_s32(vreinterpretq_s32_u32(sums),
                                vreinterpretq_s32_u32(thresholds));
    return vaddvq_u32(vandq_u32(below, vld1q_u32(bits)));
  }
  static void StoreInts(int32_t* to, Vec sums) {
    vst1q_s32(to, vreinterpretq_s32_u32(sums));
  }
  static float32x4_t LoadFloats(const float* from) { return vld1q_f32(from); }
  static float32x4_t Constant(float value) { return vdupq_n_f32(value); }
  static void StoreFloats(float* to, float32x4_t value) {
    vst1q_f32(to, value);
  }
  static void StreamFloats(float* to, float32x4_t value) {
    vst1q_f32(to, value);
  }
  static float32x4_t ToFloats(Vec sums) {
    return vcvtq_f32_s32(vreinterpretq_s32_u32(sums));
  }
  static float32x4_t Multiply(float32x4_t a, float32x4_t b) {
    return vmulq_f32(a, b);
  }
  static float32x4_t Add(float32x4_t a, float32x4_t b) {
    return vaddq_f32(a, b);
  }
  static void Fence() {}
};

inline float32x4_t LoadPart(const float* from, int64_t count) {
  if (count >= 4) return vld1q_f32(from);
  float part[4] = {};
  for (int64_t i = 0; i < count; ++i) part[i] = from[i];
  return vld1q_f32(part);
}

bool Pack(const float* inputs, int64_t rows, int64_t width, uint32_t* words) {
  const uint32_t bits[4] = {1, 2, 4, 8};
  uint32_t numbers = ~uint32_t{0};
  for (int64_t m = 0; m < rows; ++m) {
    const float* row = inputs + m * width;
    for (int64_t k = 0; k < width; k += 32) {
      uint32_t word = 0;
      for (int64_t i = 0; i < 32 && k + i < width; i += 4) {
        const int64_t left = width - k - i;
        const float32x4_t x = LoadPart(row + k + i, left);
        numbers &= vminvq_u32(vceqq_f32(x, x));
        word |= vaddvq_u32(vandq_u32(vcltzq_f32(x), vld1q_u32(bits))) << i;
      }
      *words++ = word;
    }
  }
  return numbers != 0;
}

const XnorKernels kKernels = {Pack, Product<Cnt4>};

}  // namespace

const XnorKernels* XnorKernelsNeon() { return &kKernels; }

}  // namespace keras_compress
