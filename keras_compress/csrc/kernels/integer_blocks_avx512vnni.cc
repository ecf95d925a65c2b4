// The integer product with blocks of 4 inputs by 16 units, whose weights are
// the 64 bytes of one register.
//   _mm512_dpbusd_epi32   VPDPBUSD (ZMM, ZMM, ZMM): unsigned times signed bytes
//
// Rows stand in tiles of 16, [k / 4][row][k % 4]: what a block multiplies is
// one line of memory. Rows up to 4 stand one after the other instead. A row of
// 16 bits is two: its low bytes, and its high ones.
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "integer_matmul.h"

namespace keras_compress {
namespace {

#include "integer_finish.h"
#include "integer_vnni.h"

constexpr int64_t kTile = 16;
constexpr int64_t kFew = 4;
// Weights that stay in the second cache while all rows pass by, tile by tile;
// larger ones are read once for several tiles.
constexpr int64_t kNearBytes = int64_t{1} << 19;
constexpr int64_t kTilesOfFar = 4;

int64_t Steps(int64_t inputs) { return (inputs + 3) / 4; }

int64_t RowBytes(int64_t inputs, bool wide) {
  return (wide ? 2 : 1) * 4 * Steps(inputs);
}

bool AreFew(const IntegerRows& rows) {
  return rows.count * (rows.wide ? 2 : 1) <= kFew;
}

// 16 rows of 16 double words as 16 columns.
void Transpose(__m512i* r) {
  __m512i t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  // r[4 i + j]: in quarter q, column 4 q + j of rows 4 i to 4 i + 3.
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const __m512i a = _mm512_shuffle_i32x4(r[j], r[4 + j], 0x44);
    const __m512i b = _mm512_shuffle_i32x4(r[j], r[4 + j], 0xEE);
    const __m512i c = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0x44);
    const __m512i d = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0xEE);
    t[j] = _mm512_shuffle_i32x4(a, c, 0x88);
    t[4 + j] = _mm512_shuffle_i32x4(a, c, 0xDD);
    t[8 + j] = _mm512_shuffle_i32x4(b, d, 0x88);
    t[12 + j] = _mm512_shuffle_i32x4(b, d, 0xDD);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) r[i] = t[i];
}

// One tile, whose first row is a multiple of what a tile holds.
template <int kHow>
bool PrepareTile(const IntegerRows& rows, int64_t row, int64_t row_end,
                 int64_t inputs, uint8_t* to) {
  const int64_t steps = Steps(inputs);
  const int64_t each = rows.wide ? 2 : 1;
  __mmask16 nan = 0;
  __m512i lines[kTile];
  for (int64_t i = 0; i < kTile; ++i) lines[i] = _mm512_setzero_si512();
  for (int64_t s = 0; s < steps; s += 16) {
    for (int64_t i = 0; i < row_end - row; ++i) {
      __m512i high;
      lines[each * i] = Bytes<kHow>(rows, row + i, inputs, 4 * s, &high, &nan);
      if (rows.wide) lines[2 * i + 1] = high;
    }
    __m512i columns[kTile];
    for (int64_t i = 0; i < kTile; ++i) columns[i] = lines[i];
    Transpose(columns);
    const int64_t some = steps - s < 16 ? steps - s : 16;
    for (int64_t i = 0; i < some; ++i) {
      _mm512_storeu_si512(to + (s + i) * 4 * kTile, columns[i]);
    }
  }
  return nan == 0;
}

template <int kHow>
bool PrepareFew(const IntegerRows& rows, int64_t row, int64_t row_end,
                int64_t inputs, uint8_t* to) {
  bool good = true;
  for (; row < row_end; ++row) {
    good &= PrepareRow<kHow>(rows, row, inputs, 4 * Steps(inputs),
                             to + row * RowBytes(inputs, rows.wide));
  }
  return good;
}

template <int kHow>
bool PrepareAs(const IntegerRows& rows, int64_t inputs, int64_t row,
               int64_t row_end, uint8_t* to) {
  if (AreFew(rows)) return PrepareFew<kHow>(rows, row, row_end, inputs, to);
  const int64_t many = rows.wide ? kTile / 2 : kTile;
  bool good = true;
  for (; row < row_end; row += many) {
    const int64_t end = row + many < row_end ? row + many : row_end;
    good &= PrepareTile<kHow>(rows, row, end, inputs,
                              to + row * RowBytes(inputs, rows.wide));
  }
  return good;
}

bool Prepare(const IntegerRows* rows, int64_t inputs, int64_t row,
             int64_t row_end, void* prepared) {
  uint8_t* to = static_cast<uint8_t*>(prepared);
  if (rows->rounding == kTruncate) {
    return PrepareAs<kTruncate>(*rows, inputs, row, row_end, to);
  }
  if (rows->rounding == kFloor) {
    return PrepareAs<kFloor>(*rows, inputs, row, row_end, to);
  }
  return PrepareAs<kNearestEven>(*rows, inputs, row, row_end, to);
}

__m512i FourOf(const uint8_t* row) {
  int32_t four;
  memcpy(&four, row, sizeof(four));
  return _mm512_set1_epi32(four);
}

// The sums of R rows, in T turns: rows follow each other after `stride` bytes,
// and the inputs of one step those of another after `step`.
template <int R, int T>
inline void Sums(const IntegerSteps& panel, const uint8_t* rows, int64_t stride,
                 int64_t step, __m512i* sums) {
  __m512i of[T][R];
#pragma GCC unroll 4
  for (int t = 0; t < T; ++t) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) of[t][r] = _mm512_setzero_si512();
  }
  int64_t s = 0;
  for (; s + T <= panel.count; s += T) {
    if (T > 1) __builtin_prefetch(panel.bytes + 64 * s + 4096);
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) {
      const __m512i weights = _mm512_loadu_si512(panel.bytes + 64 * (s + t));
      const uint8_t* from = rows + panel.indices[s + t] * step;
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        of[t][r] =
            _mm512_dpbusd_epi32(of[t][r], FourOf(from + r * stride), weights);
      }
    }
  }
  for (; T > 1 && s < panel.count; ++s) {
    const __m512i weights = _mm512_loadu_si512(panel.bytes + 64 * s);
    const uint8_t* from = rows + panel.indices[s] * step;
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      of[0][r] =
          _mm512_dpbusd_epi32(of[0][r], FourOf(from + r * stride), weights);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    sums[r] = of[0][r];
#pragma GCC unroll 4
    for (int t = 1; t < T; ++t) sums[r] = _mm512_add_epi32(sums[r], of[t][r]);
  }
}

void SumsOfFew(const IntegerSteps& panel, const uint8_t* rows, int64_t count,
               int64_t width, __m512i* sums) {
  if (count == 1) return Sums<1, 4>(panel, rows, width, 4, sums);
  if (count == 2) return Sums<2, 4>(panel, rows, width, 4, sums);
  if (count == 3) return Sums<3, 2>(panel, rows, width, 4, sums);
  return Sums<4, 2>(panel, rows, width, 4, sums);
}

// Some of a tile, a few more where they are fewer.
void SumsOfTile(const IntegerSteps& panel, const uint8_t* tile, int64_t count,
                __m512i* sums) {
  constexpr int64_t kLine = 4 * kTile;
  if (count > 12) return Sums<16, 1>(panel, tile, 4, kLine, sums);
  if (count > 8) return Sums<12, 1>(panel, tile, 4, kLine, sums);
  if (count > 4) return Sums<8, 1>(panel, tile, 4, kLine, sums);
  return Sums<4, 2>(panel, tile, 4, kLine, sums);
}

void Write(const Writer& writer, bool wide, int64_t row, int64_t count,
           const __m512i* sums) {
  for (int64_t r = 0; r < count; ++r) {
    __m512i sum = sums[wide ? 2 * r : r];
    if (wide) {
      sum = _mm512_add_epi32(sum, _mm512_slli_epi32(sums[2 * r + 1], 8));
    }
    writer.Write(row + r, sum);
  }
}

void Product(const IntegerWeights* weights, const void* prepared,
             const IntegerRows* given, const IntegerOutput* output, int64_t row,
             int64_t row_end, int64_t panel, int64_t panel_end) {
  const int64_t each = given->wide ? 2 : 1;
  const int64_t bytes = RowBytes(weights->inputs, given->wide);
  const uint8_t* rows = static_cast<const uint8_t*>(prepared);
  const bool few = AreFew(*given);
  const int64_t many = few ? row_end - row : kTile / each;
  const int64_t size =
      64 * (weights->starts[panel_end] - weights->starts[panel]);
  const int64_t tiles = size <= kNearBytes ? 1 : kTilesOfFar;
  for (int64_t end; row < row_end; row = end) {
    end = row + tiles * many < row_end ? row + tiles * many : row_end;
    for (int64_t p = panel; p < panel_end; ++p) {
      const IntegerSteps steps = StepsOf(*weights, p);
      const int64_t unit = p * kIntegerPanel;
      const Writer writer(*weights, *given, *output, unit,
                          weights->units - unit);
      for (int64_t first = row; first < end; first += many) {
        __m512i sums[kTile];
        const int64_t count = end - first < many ? end - first : many;
        const uint8_t* from = rows + first * bytes;
        if (few) {
          SumsOfFew(steps, from, each * count, bytes / each, sums);
        } else {
          SumsOfTile(steps, from, each * count, sums);
        }
        Write(writer, given->wide, first, count, sums);
      }
    }
  }
}

const IntegerKernels kKernels = {kTile,   RowBytes, Prepare,
                                 Product, nullptr,  nullptr};

}  // namespace

const IntegerKernels* IntegerBlocksAvx512Vnni() { return &kKernels; }

}  // namespace keras_compress
