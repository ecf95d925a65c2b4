// The product of packed signs on AVX-512 that cannot count words: four bits are
// looked up at a time, and bytes counted up to 31 words; for many rows, four
// bits of two rows (xnor_tables.h).
//   _mm512_shuffle_epi8                       VPSHUFB (ZMM, ZMM, ZMM)
//   _mm512_maddubs_epi16, _mm512_madd_epi16   bytes to int32
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "xnor_matmul.h"

namespace keras_compress {
namespace {

#include "xnor_finish.h"
// After KC_INLINE.
#include "xnor_avx512.h"
#include "xnor_lanes.h"

struct Nibbles16 : Lanes16 {
  static constexpr int kVectors = 2;
  static constexpr int kRows = 4;
  static constexpr int kPairs = 2;
  static constexpr int64_t kRoom = 31;
  static Vec Ones(Vec x) {
    const Vec ones = _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    const Vec nibble = _mm512_set1_epi8(15);
    const Vec low = _mm512_and_si512(x, nibble);
    const Vec high = _mm512_and_si512(_mm512_srli_epi16(x, 4), nibble);
    return _mm512_add_epi8(_mm512_shuffle_epi8(ones, low),
                           _mm512_shuffle_epi8(ones, high));
  }
  static Vec Plus(Vec a, Vec b) { return _mm512_add_epi8(a, b); }
  static Vec LoadBytes(const void* from) { return _mm512_load_si512(from); }
  static void StoreBytes(void* to, Vec x) { _mm512_store_si512(to, x); }
  static Vec Table(const uint8_t* from) {
    return _mm512_broadcast_i32x4(
        _mm_load_si128(reinterpret_cast<const __m128i*>(from)));
  }
  static Vec Look(Vec table, Vec nibbles) {
    return _mm512_shuffle_epi8(table, nibbles);
  }
  static Vec Nibbles(Vec x, bool high) {
    const Vec nibble = _mm512_set1_epi8(15);
    return _mm512_and_si512(high ? _mm512_srli_epi16(x, 4) : x, nibble);
  }
  static Vec WithoutHigh(Vec sum, Vec high) {
    const Vec times16 =
        _mm512_and_si512(_mm512_slli_epi16(high, 4), _mm512_set1_epi8(-16));
    return _mm512_sub_epi8(sum, times16);
  }
  static Vec Shorts(Vec x, bool odd) {
    return odd ? _mm512_srli_epi16(x, 8)
               : _mm512_and_si512(x, _mm512_set1_epi16(255));
  }
  static Vec PlusShorts(Vec a, Vec b) { return _mm512_add_epi16(a, b); }
  static Vec Halves(Vec x, bool high) {
    return high ? _mm512_srli_epi32(x, 16)
                : _mm512_and_si512(x, _mm512_set1_epi32(65535));
  }
  static Vec Zip8(Vec a, Vec b, bool high) {
    return high ? _mm512_unpackhi_epi8(a, b) : _mm512_unpacklo_epi8(a, b);
  }
  static Vec Zip16(Vec a, Vec b, bool high) {
    return high ? _mm512_unpackhi_epi16(a, b) : _mm512_unpacklo_epi16(a, b);
  }
  static Vec Zip32(Vec a, Vec b, bool high) {
    return high ? _mm512_unpackhi_epi32(a, b) : _mm512_unpacklo_epi32(a, b);
  }
  static Vec Zip64(Vec a, Vec b, bool high) {
    return high ? _mm512_unpackhi_epi64(a, b) : _mm512_unpacklo_epi64(a, b);
  }
  static Vec Widen(Vec total, Vec count) {
    const Vec pairs = _mm512_maddubs_epi16(count, _mm512_set1_epi8(1));
    return _mm512_add_epi32(total,
                            _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
  }
};

const XnorKernels kKernels = {Pack, Product<Nibbles16>};

}  // namespace

const XnorKernels* XnorKernelsAvx512() { return &kKernels; }

}  // namespace keras_compress
