// Vectors of 4 floats on ARM.
//
// Included inside an anonymous namespace, as x86_lanes.h is.

struct Floats4 {
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
};
