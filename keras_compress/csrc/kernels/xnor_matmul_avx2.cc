// The product of packed signs, 8 units to a vector: four bits are looked up at
// a time, and bytes counted up to 31 words; for many rows, four bits of two
// rows (xnor_tables.h).
//   _mm256_shuffle_epi8                       VPSHUFB (YMM, YMM, YMM)
//   _mm256_maddubs_epi16, _mm256_madd_epi16   bytes to int32
//   _mm256_movemask_ps                        VMOVMSKPS (R32, YMM)
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "xnor_matmul.h"

namespace keras_compress {
namespace {

#include "xnor_finish.h"
#include "xnor_lanes.h"

alignas(32) constexpr int32_t kFirst[16] = {-1, -1, -1, -1, -1, -1, -1, -1};

struct Nibbles8 {
  using Vec = __m256i;
  static constexpr int kLanes = 8;
  static constexpr int kVectors = 2;
  static constexpr int kRows = 2;
  static constexpr int kPairs = 1;
  static constexpr int64_t kRoom = 31;
  static Vec First(int64_t count) {
    return _mm256_loadu_si256(
        reinterpret_cast<const __m256i*>(kFirst + 8 - count));
  }
  static Vec Zero() { return _mm256_setzero_si256(); }
  static Vec Load(const uint32_t* from) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  }
  template <int C>
  static void Together(Vec (&)[C]) {}
  static Vec LoadInts(const int32_t* from) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  }
  static Vec Broadcast(const uint32_t* from) {
    return _mm256_set1_epi32(static_cast<int>(*from));
  }
  static Vec Differ(Vec a, Vec b) { return _mm256_xor_si256(a, b); }
  static Vec DifferWhere(Vec a, Vec b, Vec mask) {
    return _mm256_and_si256(_mm256_xor_si256(a, b), mask);
  }
  static Vec Ones(Vec x) {
    const Vec ones =
        _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,  //
                         0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    const Vec nibble = _mm256_set1_epi8(15);
    const Vec low = _mm256_and_si256(x, nibble);
    const Vec high = _mm256_and_si256(_mm256_srli_epi16(x, 4), nibble);
    return _mm256_add_epi8(_mm256_shuffle_epi8(ones, low),
                           _mm256_shuffle_epi8(ones, high));
  }
  static Vec Plus(Vec a, Vec b) { return _mm256_add_epi8(a, b); }
  static Vec LoadBytes(const void* from) {
    return _mm256_load_si256(static_cast<const __m256i*>(from));
  }
  static void StoreBytes(void* to, Vec x) {
    _mm256_store_si256(static_cast<__m256i*>(to), x);
  }
  static Vec Table(const uint8_t* from) {
    return _mm256_broadcastsi128_si256(
        _mm_load_si128(reinterpret_cast<const __m128i*>(from)));
  }
  static Vec Look(Vec table, Vec nibbles) {
    return _mm256_shuffle_epi8(table, nibbles);
  }
  static Vec Nibbles(Vec x, bool high) {
    const Vec nibble = _mm256_set1_epi8(15);
    return _mm256_and_si256(high ? _mm256_srli_epi16(x, 4) : x, nibble);
  }
  static Vec WithoutHigh(Vec sum, Vec high) {
    const Vec times16 =
        _mm256_and_si256(_mm256_slli_epi16(high, 4), _mm256_set1_epi8(-16));
    return _mm256_sub_epi8(sum, times16);
  }
  static Vec Shorts(Vec x, bool odd) {
    return odd ? _mm256_srli_epi16(x, 8)
               : _mm256_and_si256(x, _mm256_set1_epi16(255));
  }
  static Vec PlusShorts(Vec a, Vec b) { return _mm256_add_epi16(a, b); }
  static Vec Halves(Vec x, bool high) {
    return high ? _mm256_srli_epi32(x, 16)
                : _mm256_and_si256(x, _mm256_set1_epi32(65535));
  }
  static Vec Zip8(Vec a, Vec b, bool high) {
    return high ? _mm256_unpackhi_epi8(a, b) : _mm256_unpacklo_epi8(a, b);
  }
  static Vec Zip16(Vec a, Vec b, bool high) {
    return high ? _mm256_unpackhi_epi16(a, b) : _mm256_unpacklo_epi16(a, b);
  }
  static Vec Zip32(Vec a, Vec b, bool high) {
    return high ? _mm256_unpackhi_epi32(a, b) : _mm256_unpacklo_epi32(a, b);
  }
  static Vec Zip64(Vec a, Vec b, bool high) {
    return high ? _mm256_unpackhi_epi64(a, b) : _mm256_unpacklo_epi64(a, b);
  }
  static Vec Widen(Vec total, Vec count) {
    const Vec pairs = _mm256_maddubs_epi16(count, _mm256_set1_epi8(1));
    return _mm256_add_epi32(total,
                            _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  static Vec Sums(Vec kept, Vec total) {
    return _mm256_sub_epi32(kept, _mm256_add_epi32(total, total));
  }
  static uint32_t Below(Vec sums, Vec thresholds) {
    return static_cast<uint32_t>(_mm256_movemask_ps(
        _mm256_castsi256_ps(_mm256_cmpgt_epi32(thresholds, sums))));
  }
  static void StoreInts(int32_t* to, Vec sums) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), sums);
  }
  static __m256 LoadFloats(const float* from) { return _mm256_loadu_ps(from); }
  static __m256 Constant(float value) { return _mm256_set1_ps(value); }
  static void StoreFloats(float* to, __m256 value) {
    _mm256_storeu_ps(to, value);
  }
  static void StreamFloats(float* to, __m256 value) {
    _mm256_stream_ps(to, value);
  }
  static __m256 ToFloats(Vec sums) { return _mm256_cvtepi32_ps(sums); }
  static __m256 Multiply(__m256 a, __m256 b) { return _mm256_mul_ps(a, b); }
  static __m256 Add(__m256 a, __m256 b) { return _mm256_add_ps(a, b); }
  static void Fence() { _mm_sfence(); }
};

// The signs of `count` floats from 1 to 8; `*unordered` becomes nonzero at NaN.
inline uint32_t Signs(const float* from, int64_t count, uint32_t* unordered) {
  const __m256 x = count == 8
                       ? _mm256_loadu_ps(from)
                       : _mm256_maskload_ps(from, Nibbles8::First(count));
  *unordered |= static_cast<uint32_t>(
      _mm256_movemask_ps(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)));
  return static_cast<uint32_t>(
      _mm256_movemask_ps(_mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_LT_OQ)));
}

bool Pack(const float* inputs, int64_t rows, int64_t width, uint32_t* words) {
  uint32_t unordered = 0;
  for (int64_t m = 0; m < rows; ++m) {
    const float* row = inputs + m * width;
    for (int64_t k = 0; k < width; k += 32) {
      uint32_t word = 0;
      for (int64_t i = 0; i < 32 && k + i < width; i += 8) {
        const int64_t left = width - k - i;
        word |= Signs(row + k + i, left < 8 ? left : 8, &unordered) << i;
      }
      *words++ = word;
    }
  }
  return unordered == 0;
}

const XnorKernels kKernels = {Pack, Product<Nibbles8>};

}  // namespace

const XnorKernels* XnorKernelsAvx2() { return &kKernels; }

}  // namespace keras_compress
