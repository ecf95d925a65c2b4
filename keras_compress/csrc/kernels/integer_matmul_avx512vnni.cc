// The integer product where bytes are multiplied and added four at a time.
//   _mm512_dpbusd_epi32   VPDPBUSD (ZMM, ZMM, ZMM): unsigned times signed bytes
//   _mm512_dpwssd_epi32   VPDPWSSD (ZMM, ZMM, ZMM): words, two at a time
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
#include "integer_vnni.h"

// Of a row as PrepareRow leaves it.
int64_t RowBytes(int64_t inputs, bool wide) {
  return (wide ? 2 : 1) * PaddedInputs(inputs);
}

bool Prepare(const IntegerRows* rows, int64_t inputs, int64_t row,
             int64_t row_end, void* prepared) {
  bool good = true;
  const int64_t width = PaddedInputs(inputs);
  const auto how = rows->rounding == kTruncate ? PrepareRow<kTruncate>
                   : rows->rounding == kFloor  ? PrepareRow<kFloor>
                                               : PrepareRow<kNearestEven>;
  for (; row < row_end; ++row) {
    good &= how(
        *rows, row, inputs, width,
        static_cast<uint8_t*>(prepared) + row * RowBytes(inputs, rows->wide));
  }
  return good;
}

struct Lanes16 {
  using Row = uint8_t;
  using Sums = __m512i;
  using Weight = __m512i;
  using Input = __m512i;
  static constexpr int kUnits = 16;
  static constexpr int kInputs = 4;
  static constexpr int kVectors = 4;
  static constexpr int kRows = 6;
  static constexpr int kAlone = 2;
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
    if (!given.wide) {
      RowsOf<Lanes16, C>(weights, panel, row / kRows, rows, bytes, count, sums);
      return;
    }
    constexpr int64_t kWidth = C * kUnits;
    alignas(64) int32_t halves[kRows * kWidth];
    const int64_t tall = kRows / 2;
    for (int64_t r = 0; r < count; r += tall) {
      // Low and high bytes are rows by turns.
      const int64_t some = count - r < tall ? count - r : tall;
      RowsOf<Lanes16, C>(weights, panel, (row + r) / tall, rows + r * bytes,
                         width, 2 * some, halves);
      for (int64_t i = 0; i < some * kWidth; i += kUnits) {
        const int32_t* low = halves + i + i / kWidth * kWidth;
        const __m512i high =
            _mm512_slli_epi32(_mm512_load_si512(low + kWidth), 8);
        _mm512_store_si512(sums + r * kWidth + i,
                           _mm512_add_epi32(_mm512_load_si512(low), high));
      }
    }
  }

  template <int C>
  static void FinishRows(const IntegerWeights& weights,
                         const IntegerRows& given, const IntegerOutput& output,
                         int64_t row, int64_t count, int64_t unit,
                         int64_t units, const int32_t* sums) {
    for (int64_t u = 0; u < units; u += kUnits) {
      const Writer writer(weights, given, output, unit + u, units - u);
      for (int64_t r = 0; r < count; ++r) {
        writer.Write(row + r, _mm512_load_si512(sums + r * C * kUnits + u));
      }
    }
  }
};

// Weights of 16 bits, two to a sum, which comes back where it leaves 32 bits.
struct Words16 : Rows16<Words16> {
  static constexpr int kUnits = 16;
  static constexpr int kInputs = 2;
  static constexpr int kVectors = 4;
  static constexpr int kRows = 6;
  static constexpr int kAlone = 1;
  using Sums = __m512i;
  using Weight = __m512i;
  using Input = __m512i;
  static Sums Zero() { return _mm512_setzero_si512(); }
  static Input Broadcast(const int16_t* row) {
    int32_t two;
    memcpy(&two, row, sizeof(two));
    return _mm512_set1_epi32(two);
  }
  static Weight Weights(const int8_t* from) { return _mm512_loadu_si512(from); }
  static Weight Low(const int8_t* from) { return Weights(from); }
  static Weight High(const int8_t* from) { return Weights(from); }
  static Sums Multiply(Sums sums, Input input, Weight weight) {
    return _mm512_dpwssd_epi32(sums, input, weight);
  }
  static Sums Add(Sums a, Sums b) { return _mm512_add_epi32(a, b); }
  static void Store(Sums sums, int32_t* to, bool) {
    _mm512_storeu_si512(to, sums);
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
  for (; panel < panel_end; panel += many) {
    const int64_t end = panel + many < panel_end ? panel + many : panel_end;
    for (int64_t p = panel; p < end; ++p) {
      WholeBytes(weights->panels + p * from_steps * 64, to_steps,
                 bytes + (p - panel) * to_steps * 64);
    }
    IntegerWeights whole = *weights;
    whole.bits = 8;
    // Product counts panels from the first one of all.
    whole.panels = bytes - panel * to_steps * 64;
    Product<Lanes16>(&whole, prepared, given, output, row, row_end, panel, end);
  }
  free(bytes);
}

const IntegerKernels kWords = {Words16::kRows,   RowBytes16, Prepare16,
                               Product<Words16>, nullptr,    nullptr};

}  // namespace

const IntegerKernels* IntegerKernelsAvx512Vnni() {
  static const IntegerKernels kKernels = {Lanes16::kRows,
                                          RowBytes,
                                          Prepare,
                                          ProductOfHalves,
                                          IntegerBlocksAvx512Vnni(),
                                          &kWords};
  return &kKernels;
}

}  // namespace keras_compress
