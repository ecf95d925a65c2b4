// Vectors of 8 and of 4 rows on x86, for the levels that have AVX2 and FMA.
//
// Included inside an anonymous namespace, as sparse_lanes.h is.

alignas(32) constexpr int32_t kFirst[16] = {-1, -1, -1, -1, -1, -1, -1, -1};

struct Lanes8 {
  using Type = __m256;
  static constexpr int kLanes = 8;
  static __m256i First(int64_t count) {
    return _mm256_loadu_si256(
        reinterpret_cast<const __m256i*>(kFirst + 8 - count));
  }
  static Type Zero() { return _mm256_setzero_ps(); }
  static Type Load(const float* from) { return _mm256_loadu_ps(from); }
  static Type LoadPart(const float* from, int64_t count) {
    return _mm256_maskload_ps(from, First(count));
  }
  static void Store(float* to, Type value) { _mm256_storeu_ps(to, value); }
  static void StorePart(float* to, Type value, int64_t count) {
    _mm256_maskstore_ps(to, First(count), value);
  }
  static constexpr bool kLoadsAreDear = false;
  static Type Broadcast(const float* from) { return _mm256_set1_ps(*from); }
  using Four = __m256;
  static Four LoadFour(const float* from) {
    return _mm256_broadcast_ps(reinterpret_cast<const __m128*>(from));
  }
  template <int i>
  static Type Of(Four four) {
    return _mm256_permute_ps(four, i * 0x55);
  }
  static Type Fma(Type a, Type b, Type c) { return _mm256_fmadd_ps(a, b, c); }
  static Type Add(Type a, Type b) { return _mm256_add_ps(a, b); }
  using Window = const float*;
  static Window At(const float* table, int64_t window) {
    return table + window * 4;
  }
  static Type Pick(Window window, const uint8_t* index) {
    const __m256i lanes = _mm256_cvtepu8_epi32(
        _mm_loadl_epi64(reinterpret_cast<const __m128i*>(index)));
    return _mm256_i32gather_ps(
        window, _mm256_and_si256(lanes, _mm256_set1_epi32(31)), 4);
  }
  static Type LowPairs(Type a, Type b) {
    return _mm256_castpd_ps(
        _mm256_unpacklo_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)));
  }
  static Type HighPairs(Type a, Type b) {
    return _mm256_castpd_ps(
        _mm256_unpackhi_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)));
  }
  static void Transpose(Type* r) {
    Type t[8];
    for (int i = 0; i < 8; i += 2) {
      t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
      t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    // r[4 i + j]: in half q, column 4 q + j of rows 4 i to 4 i + 3.
    for (int i = 0; i < 8; i += 4) {
      r[i] = LowPairs(t[i], t[i + 2]);
      r[i + 1] = HighPairs(t[i], t[i + 2]);
      r[i + 2] = LowPairs(t[i + 1], t[i + 3]);
      r[i + 3] = HighPairs(t[i + 1], t[i + 3]);
    }
    for (int j = 0; j < 4; ++j) {
      const Type a = r[j];
      const Type b = r[4 + j];
      r[j] = _mm256_permute2f128_ps(a, b, 0x20);
      r[4 + j] = _mm256_permute2f128_ps(a, b, 0x31);
    }
  }
};

struct Lanes4 {
  using Type = __m128;
  static constexpr int kLanes = 4;
  static __m128i First(int64_t count) {
    return _mm_loadu_si128(
        reinterpret_cast<const __m128i*>(kFirst + 8 - count));
  }
  static Type Zero() { return _mm_setzero_ps(); }
  static Type Load(const float* from) { return _mm_loadu_ps(from); }
  static Type LoadPart(const float* from, int64_t count) {
    return _mm_maskload_ps(from, First(count));
  }
  static void Store(float* to, Type value) { _mm_storeu_ps(to, value); }
  static void StorePart(float* to, Type value, int64_t count) {
    _mm_maskstore_ps(to, First(count), value);
  }
  static constexpr bool kLoadsAreDear = false;
  static Type Broadcast(const float* from) { return _mm_set1_ps(*from); }
  using Four = __m128;
  static Four LoadFour(const float* from) { return _mm_loadu_ps(from); }
  template <int i>
  static Type Of(Four four) {
    return _mm_permute_ps(four, i * 0x55);
  }
  static Type Fma(Type a, Type b, Type c) { return _mm_fmadd_ps(a, b, c); }
  static Type Add(Type a, Type b) { return _mm_add_ps(a, b); }
  static void Transpose(Type* r) { _MM_TRANSPOSE4_PS(r[0], r[1], r[2], r[3]); }
};

template <class Number>
inline uint32_t LargestOf(const Number* numbers, int64_t count) {
  uint32_t largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    largest = numbers[i] > largest ? numbers[i] : largest;
  }
  return largest;
}
