// Vectors of 16 floats on x86, for the levels that have AVX-512F.
//
// Included inside an anonymous namespace, as x86_lanes.h is.

struct Floats16 {
  using Type = __m512;
  static constexpr int kLanes = 16;
  static __mmask16 First(int64_t count) {
    return static_cast<__mmask16>((1u << count) - 1u);
  }
  static Type Zero() { return _mm512_setzero_ps(); }
  static Type Load(const float* from) { return _mm512_loadu_ps(from); }
  static Type LoadPart(const float* from, int64_t count) {
    return _mm512_maskz_loadu_ps(First(count), from);
  }
  static void Store(float* to, Type value) { _mm512_storeu_ps(to, value); }
  static void StorePart(float* to, Type value, int64_t count) {
    _mm512_mask_storeu_ps(to, First(count), value);
  }
  static Type Broadcast(const float* from) { return _mm512_set1_ps(*from); }
  static Type Fma(Type a, Type b, Type c) { return _mm512_fmadd_ps(a, b, c); }
  static Type Add(Type a, Type b) { return _mm512_add_ps(a, b); }
};
