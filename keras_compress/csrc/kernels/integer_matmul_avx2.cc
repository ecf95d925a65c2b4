// The integer product with AVX2, exact at 8 bits and at 16.
//   _mm256_madd_epi16      VPMADDWD (YMM, YMM, YMM)
//   _mm256_cvtepi8_epi16   VPMOVSXBW (YMM, XMM)
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "integer_matmul.h"

namespace keras_compress {
namespace {

#include "integer_finish.h"
#include "integer_lanes.h"

// VPMADDUBSW, which takes bytes, saturates where both are of 8 bits; words do
// not, and take as many multiplications.
struct Lanes8 : Rows16<Lanes8> {
  static constexpr int kUnits = 8;
  static constexpr int kInputs = 4;
  static constexpr int kVectors = 2;
  static constexpr int kRows = 2;
  static constexpr int kAlone = 1;
  // Sums of even and of odd pairs: units 0 to 3, and 4 to 7.
  struct Sums {
    __m256i one, other;
  };
  using Weight = Sums;
  using Input = __m256i;
  static Sums Zero() {
    return {_mm256_setzero_si256(), _mm256_setzero_si256()};
  }
  static Input Broadcast(const int16_t* row) {
    long long four;
    memcpy(&four, row, sizeof(four));
    return _mm256_set1_epi64x(four);
  }
  static __m256i Words(const int8_t* from) {
    return _mm256_cvtepi8_epi16(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  }
  static Weight Weights(const int8_t* from) {
    return {Words(from), Words(from + 16)};
  }
  static Weight Low(const int8_t* from) {
    const Weight both = Weights(from);
    return {_mm256_srai_epi16(_mm256_slli_epi16(both.one, 12), 12),
            _mm256_srai_epi16(_mm256_slli_epi16(both.other, 12), 12)};
  }
  static Weight High(const int8_t* from) {
    const Weight both = Weights(from);
    return {_mm256_srai_epi16(both.one, 4), _mm256_srai_epi16(both.other, 4)};
  }
  static Sums Multiply(Sums sums, Input input, Weight weight) {
    return {
        _mm256_add_epi32(sums.one, _mm256_madd_epi16(input, weight.one)),
        _mm256_add_epi32(sums.other, _mm256_madd_epi16(input, weight.other))};
  }
  static Sums Add(Sums a, Sums b) {
    return {_mm256_add_epi32(a.one, b.one), _mm256_add_epi32(a.other, b.other)};
  }
  static void Store(Sums sums, int32_t* to, bool) {
    const __m256i pairs = _mm256_hadd_epi32(sums.one, sums.other);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                        _mm256_permute4x64_epi64(pairs, 0xD8));
  }
};

// Weights of 16 bits, two to a sum. Only two times twice the least number
// leaves 32 bits, and what is then added comes back: whole sums have 32.
struct Words8 : Rows16<Words8> {
  static constexpr int kUnits = 8;
  static constexpr int kInputs = 2;
  static constexpr int kVectors = 4;
  static constexpr int kRows = 3;
  static constexpr int kAlone = 1;
  using Sums = __m256i;
  using Weight = __m256i;
  using Input = __m256i;
  static Sums Zero() { return _mm256_setzero_si256(); }
  static Input Broadcast(const int16_t* row) {
    int32_t two;
    memcpy(&two, row, sizeof(two));
    return _mm256_set1_epi32(two);
  }
  static Weight Weights(const int8_t* from) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  }
  static Weight Low(const int8_t* from) { return Weights(from); }
  static Weight High(const int8_t* from) { return Weights(from); }
  static Sums Multiply(Sums sums, Input input, Weight weight) {
    return _mm256_add_epi32(sums, _mm256_madd_epi16(input, weight));
  }
  static Sums Add(Sums a, Sums b) { return _mm256_add_epi32(a, b); }
  static void Store(Sums sums, int32_t* to, bool) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), sums);
  }
};

const IntegerKernels kWords = {Words8::kRows,   RowBytes16, Prepare16,
                               Product<Words8>, nullptr,    nullptr};
const IntegerKernels kKernels = {Lanes8::kRows,   RowBytes16, Prepare16,
                                 Product<Lanes8>, nullptr,    &kWords};

}  // namespace

const IntegerKernels* IntegerKernelsAvx2() { return &kKernels; }

}  // namespace keras_compress
