// Vectors of 16 units for both kinds of AVX-512, and the packing of signs.
//
// Included inside an anonymous namespace, as xnor_lanes.h is.

struct Lanes16 {
  using Vec = __m512i;
  static constexpr int kLanes = 16;
  static __mmask16 First(int64_t count) {
    return static_cast<__mmask16>((1u << count) - 1u);
  }
  static Vec Zero() { return _mm512_setzero_si512(); }
  // In a register: one load for all rows, where the compiler would make one a
  // row.
  static Vec Load(const uint32_t* from) {
    Vec words = _mm512_loadu_si512(from);
    asm("" : "+v"(words));
    return words;
  }
  static Vec Plus(Vec a, Vec b) { return _mm512_add_epi32(a, b); }
  static void Together(Vec (&)[1]) {}
  static void Together(Vec (&x)[2]) {
    asm volatile("" : "+v"(x[0]), "+v"(x[1]));
  }
  static void Together(Vec (&x)[4]) {
    asm volatile("" : "+v"(x[0]), "+v"(x[1]), "+v"(x[2]), "+v"(x[3]));
  }
  static Vec LoadInts(const int32_t* from) { return _mm512_loadu_si512(from); }
  static Vec Broadcast(const uint32_t* from) {
    return _mm512_set1_epi32(static_cast<int>(*from));
  }
  static Vec Differ(Vec a, Vec b) { return _mm512_xor_si512(a, b); }
  static Vec DifferWhere(Vec a, Vec b, Vec mask) {
    return _mm512_ternarylogic_epi32(a, b, mask, 0x28);
  }
  static Vec Sums(Vec kept, Vec total) {
    return _mm512_sub_epi32(kept, _mm512_add_epi32(total, total));
  }
  static uint32_t Below(Vec sums, Vec thresholds) {
    uint32_t below = _mm512_cmplt_epi32_mask(sums, thresholds);
    // GCC 12 may else store the 16 bits of a mask and load 32 of them.
    asm("" : "+r"(below));
    return below;
  }
  static void StoreInts(int32_t* to, Vec sums) {
    _mm512_storeu_si512(to, sums);
  }
  static __m512 LoadFloats(const float* from) { return _mm512_loadu_ps(from); }
  static __m512 Constant(float value) { return _mm512_set1_ps(value); }
  static void StoreFloats(float* to, __m512 value) {
    _mm512_storeu_ps(to, value);
  }
  static void StreamFloats(float* to, __m512 value) {
    _mm512_stream_ps(to, value);
  }
  static __m512 ToFloats(Vec sums) { return _mm512_cvtepi32_ps(sums); }
  static __m512 Multiply(__m512 a, __m512 b) { return _mm512_mul_ps(a, b); }
  static __m512 Add(__m512 a, __m512 b) { return _mm512_add_ps(a, b); }
  static void Fence() { _mm_sfence(); }
};

// Packs 64 floats into 2 words. Sign bits are narrowed with saturation from 32
// to 8 bits, which keeps them, and gathered at once; that of -0 goes before by
// x & (x - 1). A NaN is found by one comparison for two vectors.
KC_INLINE uint64_t Signs64(const float* from, __mmask16* unordered) {
  const __m512i one = _mm512_set1_epi32(1);
  __m512 x[4];
  __m512i sign[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    x[i] = _mm512_loadu_ps(from + 16 * i);
    const __m512i bits = _mm512_castps_si512(x[i]);
    sign[i] = _mm512_and_si512(bits, _mm512_sub_epi32(bits, one));
  }
  *unordered |= _mm512_cmp_ps_mask(x[0], x[1], _CMP_UNORD_Q) |
                _mm512_cmp_ps_mask(x[2], x[3], _CMP_UNORD_Q);
  // Narrowing interleaves the quarters of its operands; the permutation undoes
  // it.
  const __m512i order =
      _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512i narrow =
      _mm512_packs_epi16(_mm512_packs_epi32(sign[0], sign[1]),
                         _mm512_packs_epi32(sign[2], sign[3]));
  return _mm512_movepi8_mask(_mm512_permutexvar_epi32(order, narrow));
}

inline bool Pack(const float* inputs, int64_t rows, int64_t width,
                 uint32_t* words) {
  const __m512 zero = _mm512_setzero_ps();
  __mmask16 unordered = 0;
  if (width % 32 == 0) {  // rows that follow one another without a gap
    width *= rows;
    rows = width > 0;
  }
  for (int64_t m = 0; m < rows; ++m) {
    const float* row = inputs + m * width;
    int64_t k = 0;
    for (; k + 64 <= width; k += 64, words += 2) {
      const uint64_t signs = Signs64(row + k, &unordered);
      memcpy(words, &signs, sizeof(signs));
    }
    for (; k < width; k += 32) {
      const int64_t left = width - k;
      const __m512 low =
          _mm512_maskz_loadu_ps(Lanes16::First(left < 16 ? left : 16), row + k);
      const __m512 high =
          _mm512_maskz_loadu_ps(Lanes16::First(left < 16   ? 0
                                               : left < 32 ? left - 16
                                                           : 16),
                                row + k + 16);
      unordered |= _mm512_cmp_ps_mask(low, high, _CMP_UNORD_Q);
      *words++ =
          _mm512_cmp_ps_mask(low, zero, _CMP_LT_OQ) |
          static_cast<uint32_t>(_mm512_cmp_ps_mask(high, zero, _CMP_LT_OQ))
              << 16;
    }
  }
  return unordered == 0;
}
