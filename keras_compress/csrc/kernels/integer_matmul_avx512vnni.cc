// The integer product where bytes are multiplied and added four at a time.
//   _mm512_dpbusd_epi32   VPDPBUSD (ZMM, ZMM, ZMM): unsigned times signed bytes
//
// Inputs must be unsigned: they are kept with 128 added, and 128 times the sum
// of a unit's weights is taken off its sums. Inputs of 16 bits are two bytes,
// and two products. Weights of 4 bits are read as 16 times themselves, which
// costs no sign to extend, and sums are shifted back.
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "integer_matmul.h"

namespace keras_compress {
namespace {

#include "integer_finish.h"
#include "integer_lanes.h"

// Rows of bytes; wide ones have their low bytes first, then their high ones.
int64_t RowBytes(int64_t inputs, bool wide) {
  return (wide ? 2 : 1) * PaddedInputs(inputs);
}

bool IsUnsigned(const IntegerRows& rows) {
  return rows.kind == kIntegerUnsigned8 ||
         (rows.kind == kIntegerFloat && rows.low >= 0.0f);
}

bool Prepare(const IntegerRows* rows, int64_t inputs, int64_t row,
             int64_t row_end, void* prepared) {
  bool good = true;
  const int64_t width = PaddedInputs(inputs);
  const int32_t offset = IsUnsigned(*rows) ? 0 : 128;
  for (; row < row_end; ++row) {
    uint8_t* to =
        static_cast<uint8_t*>(prepared) + row * RowBytes(inputs, rows->wide);
    if (rows->wide) {
      good &= FromRow(*rows, row, inputs, to,
                      [](int32_t x) { return static_cast<uint8_t>(x); });
      FromRow(*rows, row, inputs, to + width,
              [](int32_t x) { return static_cast<uint8_t>((x >> 8) + 128); });
    } else {
      good &= FromRow(*rows, row, inputs, to, [offset](int32_t x) {
        return static_cast<uint8_t>(x + offset);
      });
    }
    // What stands behind meets weights of zero.
    for (int64_t k = inputs; k < width; ++k) {
      to[k] = 0;
      if (rows->wide) to[width + k] = 0;
    }
  }
  return good;
}

struct Lanes16 {
  using Row = uint8_t;
  using Sums = __m512i;
  using Weight = __m512i;
  using Input = __m512i;
  static constexpr int kUnits = 16;
  static constexpr int kVectors = 4;
  static constexpr int kRows = 6;
  static Sums Zero() { return _mm512_setzero_si512(); }
  static Input Broadcast(const uint8_t* row) {
    int32_t four;
    memcpy(&four, row, sizeof(four));
    return _mm512_set1_epi32(four);
  }
  static Weight Weights(const int8_t* from) { return _mm512_loadu_si512(from); }
  static Weight Low(const int8_t* from) {
    return _mm512_and_si512(_mm512_slli_epi16(Weights(from), 4), Upper());
  }
  static Weight High(const int8_t* from) {
    return _mm512_and_si512(Weights(from), Upper());
  }
  static __m512i Upper() { return _mm512_set1_epi8(-16); }
  static Sums Multiply(Sums sums, Input input, Weight weight) {
    return _mm512_dpbusd_epi32(sums, input, weight);
  }
  static Sums Add(Sums a, Sums b) { return _mm512_add_epi32(a, b); }
  static void Store(Sums sums, int32_t* to, bool small) {
    if (small) sums = _mm512_srai_epi32(sums, 4);
    _mm512_storeu_si512(to, sums);
  }

  template <int C>
  static void Add32(const IntegerWeights& weights, const void* prepared,
                    const IntegerRows& given, int64_t row, int64_t count,
                    int64_t panel, int32_t* sums) {
    const int64_t width = PaddedInputs(weights.inputs);
    const int64_t bytes = RowBytes(weights.inputs, given.wide);
    const uint8_t* rows = static_cast<const uint8_t*>(prepared) + row * bytes;
    Bytes<C>(weights, panel, rows, bytes, count, sums);
    if (!given.wide) return;
    alignas(64) int32_t high[kRows * C * kUnits];
    Bytes<C>(weights, panel, rows + width, bytes, count, high);
    for (int64_t i = 0; i < count * C * kUnits; ++i) {
      sums[i] = static_cast<int32_t>(static_cast<uint32_t>(sums[i]) +
                                     (static_cast<uint32_t>(high[i]) << 8));
    }
  }

  template <int C>
  static void Bytes(const IntegerWeights& weights, int64_t panel,
                    const uint8_t* rows, int64_t bytes, int64_t count,
                    int32_t* sums) {
    if (weights.bits == 8) {
      Rows<Lanes16, C, false>(weights, panel, rows, bytes, count, sums,
                              C * kUnits);
    } else {
      Rows<Lanes16, C, true>(weights, panel, rows, bytes, count, sums,
                             C * kUnits);
    }
  }

  static void Correct(const IntegerWeights& weights, const IntegerRows& given,
                      int64_t unit, int64_t units, int32_t* sums) {
    const uint32_t offset = given.wide          ? 128u << 8
                            : IsUnsigned(given) ? 0
                                                : 128;
    for (int64_t i = 0; i < units; ++i) {
      const uint32_t added =
          offset * static_cast<uint32_t>(weights.column_sums[unit + i]);
      sums[i] =
          static_cast<int32_t>(static_cast<uint32_t>(sums[i]) - added +
                               static_cast<uint32_t>(weights.bias[unit + i]));
    }
  }
};

const IntegerKernels kKernels = {RowBytes, Prepare, Product<Lanes16>};

}  // namespace

const IntegerKernels* IntegerKernelsAvx512Vnni() { return &kKernels; }

}  // namespace keras_compress
