// The integer product where bytes are multiplied and added four at a time.
//   _mm512_dpbusd_epi32   VPDPBUSD (ZMM, ZMM, ZMM): unsigned times signed bytes
//
// Inputs must be unsigned: they are kept with 128 added, and 128 times the sum
// of a unit's weights is taken off its sums. Inputs of 16 bits are two bytes,
// and two products. Weights of 4 bits are read as 16 times themselves, which
// costs no sign to extend, and sums are shifted back.
#include <immintrin.h>
#include <stdint.h>
#include <stdlib.h>
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

// Integers of 16 floats; `nan` gathers where one is none.
template <int kHow>
inline __m512i Integers(const IntegerRows& rows, __m512 x, __mmask16* nan) {
  *nan = static_cast<__mmask16>(*nan | _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q));
  x = _mm512_mul_ps(x, _mm512_set1_ps(rows.scale));
  x = _mm512_max_ps(x, _mm512_set1_ps(rows.low));
  x = _mm512_min_ps(x, _mm512_set1_ps(rows.high));
  if (kHow == kTruncate) return _mm512_cvttps_epi32(x);
  if (kHow == kFloor) {
    return _mm512_cvt_roundps_epi32(x,
                                    _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  }
  return _mm512_cvt_roundps_epi32(
      x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

template <int kHow>
bool PrepareFloats(const IntegerRows& rows, const float* from, int64_t inputs,
                   int64_t width, uint8_t* to) {
  const __m512i offset = _mm512_set1_epi32(IsUnsigned(rows) ? 0 : 128);
  __mmask16 nan = 0;
  for (int64_t k = 0; k < inputs; k += 16) {
    const int64_t left = inputs - k;
    const __mmask16 part = left >= 16
                               ? __mmask16{0xFFFF}
                               : static_cast<__mmask16>((1u << left) - 1u);
    const __m512i x =
        Integers<kHow>(rows, _mm512_maskz_loadu_ps(part, from + k), &nan);
    if (rows.wide) {
      const __m512i high =
          _mm512_add_epi32(_mm512_srai_epi32(x, 8), _mm512_set1_epi32(128));
      _mm512_mask_cvtepi32_storeu_epi8(to + k, part, x);
      _mm512_mask_cvtepi32_storeu_epi8(to + width + k, part, high);
    } else {
      _mm512_mask_cvtepi32_storeu_epi8(to + k, part,
                                       _mm512_add_epi32(x, offset));
    }
  }
  return nan == 0;
}

bool PrepareRow(const IntegerRows& rows, int64_t row, int64_t inputs,
                int64_t width, uint8_t* to) {
  if (rows.kind == kIntegerFloat) {
    const float* from = static_cast<const float*>(rows.rows) + row * inputs;
    if (rows.rounding == kNearestEven) {
      return PrepareFloats<kNearestEven>(rows, from, inputs, width, to);
    }
    return rows.rounding == kTruncate
               ? PrepareFloats<kTruncate>(rows, from, inputs, width, to)
               : PrepareFloats<kFloor>(rows, from, inputs, width, to);
  }
  if (rows.wide) {
    FromRow(rows, row, inputs, to,
            [](int32_t x) { return static_cast<uint8_t>(x); });
    return FromRow(rows, row, inputs, to + width, [](int32_t x) {
      return static_cast<uint8_t>((x >> 8) + 128);
    });
  }
  const int32_t offset = IsUnsigned(rows) ? 0 : 128;
  return FromRow(rows, row, inputs, to, [offset](int32_t x) {
    return static_cast<uint8_t>(x + offset);
  });
}

bool Prepare(const IntegerRows* rows, int64_t inputs, int64_t row,
             int64_t row_end, void* prepared) {
  bool good = true;
  const int64_t width = PaddedInputs(inputs);
  for (; row < row_end; ++row) {
    uint8_t* to =
        static_cast<uint8_t*>(prepared) + row * RowBytes(inputs, rows->wide);
    good &= PrepareRow(*rows, row, inputs, width, to);
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
    RowsOf<Lanes16, C>(weights, panel, rows, bytes, count, sums);
    if (!given.wide) return;
    alignas(64) int32_t high[kRows * C * kUnits];
    RowsOf<Lanes16, C>(weights, panel, rows + width, bytes, count, high);
    for (int64_t i = 0; i < count * C * kUnits; ++i) {
      sums[i] = static_cast<int32_t>(static_cast<uint32_t>(sums[i]) +
                                     (static_cast<uint32_t>(high[i]) << 8));
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

// Rows enough to read weights of 4 bits once for all of them.
constexpr int64_t kWorthUnpacking = 8;

// Panels of 4 bits as panels of 8, some at a time: what a tile takes stays
// near.
void ProductOfHalves(const IntegerWeights* weights, const void* prepared,
                     const IntegerRows* given, const IntegerOutput* output,
                     int64_t row, int64_t row_end, int64_t panel,
                     int64_t panel_end) {
  const int64_t from_steps = (weights->inputs + 7) / 8;
  const int64_t to_steps = (weights->inputs + 3) / 4;
  const int64_t many = Lanes16::kVectors;
  int8_t* bytes = nullptr;
  if (weights->bits == 4 && row_end - row >= kWorthUnpacking) {
    bytes = static_cast<int8_t*>(
        aligned_alloc(64, static_cast<size_t>(many * to_steps * 64 + 64)));
  }
  if (bytes == nullptr) {
    Product<Lanes16>(weights, prepared, given, output, row, row_end, panel,
                     panel_end);
    return;
  }
  const __m512i low_bits = _mm512_set1_epi8(15);
  const __m512i eight = _mm512_set1_epi8(8);
  for (; panel < panel_end; panel += many) {
    const int64_t end = panel + many < panel_end ? panel + many : panel_end;
    for (int64_t p = panel; p < end; ++p) {
      const int8_t* from = weights->panels + p * from_steps * 64;
      int8_t* to = bytes + (p - panel) * to_steps * 64;
      for (int64_t s = 0; s < to_steps; ++s) {
        __m512i half = _mm512_loadu_si512(from + s / 2 * 64);
        if (s % 2 == 1) half = _mm512_srli_epi16(half, 4);
        // (x ^ 8) - 8 extends the sign of 4 bits.
        half = _mm512_xor_si512(_mm512_and_si512(half, low_bits), eight);
        _mm512_store_si512(to + s * 64, _mm512_sub_epi8(half, eight));
      }
    }
    IntegerWeights whole = *weights;
    whole.bits = 8;
    // Product counts panels from the first one of all.
    whole.panels = bytes - panel * to_steps * 64;
    Product<Lanes16>(&whole, prepared, given, output, row, row_end, panel, end);
  }
  free(bytes);
}

const IntegerKernels kKernels = {RowBytes, Prepare, ProductOfHalves};

}  // namespace

const IntegerKernels* IntegerKernelsAvx512Vnni() { return &kKernels; }

}  // namespace keras_compress
