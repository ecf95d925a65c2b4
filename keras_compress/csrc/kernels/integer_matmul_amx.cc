// The integer product where whole tiles of bytes are multiplied.
//   _tile_dpbusd   TDPBUSD: 16 rows of 64 unsigned bytes, times 64 x 16 signed
//
// Rows are prepared as for VNNI, and few of them are multiplied there. 16 steps
// of a panel are a tile of weights as they lie.
#include <immintrin.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "integer_matmul.h"
#include "scratch.h"

namespace keras_compress {
namespace {

#include "integer_finish.h"
#include "integer_vnni.h"

constexpr int64_t kTileRows = 16;
constexpr int64_t kTileBytes = 64;  // of a row
constexpr int64_t kTile = kTileRows * kTileBytes;
constexpr int64_t kSums = kTileRows * kIntegerPanel;
constexpr int64_t kMany = 4;  // tiles of sums

// Rows that are multiplied as fast by VNNI.
constexpr int64_t kFew = 7;

// What _tile_loadconfig reads.
struct TileShapes {
  uint8_t palette = 1;
  uint8_t start = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16];
  uint8_t rows[16];
  TileShapes() {
    for (int i = 0; i < 16; ++i) {
      row_bytes[i] = i < 8 ? kTileBytes : 0;
      rows[i] = i < 8 ? kTileRows : 0;
    }
  }
};

// Panels that are multiplied together, as tiles: in the last one of a panel,
// zeros stand behind the last input. Those that are too many are the last
// panel again.
struct Panels {
  int64_t count;
  int64_t whole;  // tiles of a panel that lie in its steps
  bool more;      // a last tile
  const int8_t* steps[kMany];
  const int8_t* last[kMany];
};

// Four tiles have sums; their numbers are part of the instructions.
inline void ZeroSums() {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}

inline void StoreSums(int32_t* sums) {
  _tile_stored(0, sums, kTileBytes);
  _tile_stored(1, sums + kSums, kTileBytes);
  _tile_stored(2, sums + 2 * kSums, kTileBytes);
  _tile_stored(3, sums + 3 * kSums, kTileBytes);
}

// Sums, tile by tile, of two tiles of rows by two panels from `first` on.
inline void Multiply2x2(const uint8_t* top, const uint8_t* bottom,
                        int64_t stride, const Panels& panels, int first,
                        int32_t* sums) {
  ZeroSums();
  const auto add = [&](int64_t k, const int8_t* const* from, int64_t at) {
    _tile_loadd(6, from[first] + at, kTileBytes);
    _tile_loadd(4, top + k * kTileBytes, stride);
    _tile_dpbusd(0, 4, 6);
    _tile_loadd(7, from[first + 1] + at, kTileBytes);
    _tile_dpbusd(1, 4, 7);
    _tile_loadd(5, bottom + k * kTileBytes, stride);
    _tile_dpbusd(2, 5, 6);
    _tile_dpbusd(3, 5, 7);
  };
  for (int64_t k = 0; k < panels.whole; ++k) add(k, panels.steps, k * kTile);
  if (panels.more) add(panels.whole, panels.last, 0);
  StoreSums(sums);
}

// The same of one tile of rows by four panels.
inline void Multiply1x4(const uint8_t* rows, int64_t stride,
                        const Panels& panels, int32_t* sums) {
  ZeroSums();
  const auto add = [&](int64_t k, const int8_t* const* from, int64_t at) {
    _tile_loadd(4, rows + k * kTileBytes, stride);
    _tile_loadd(6, from[0] + at, kTileBytes);
    _tile_dpbusd(0, 4, 6);
    _tile_loadd(7, from[1] + at, kTileBytes);
    _tile_dpbusd(1, 4, 7);
    _tile_loadd(5, from[2] + at, kTileBytes);
    _tile_dpbusd(2, 4, 5);
    _tile_loadd(6, from[3] + at, kTileBytes);
    _tile_dpbusd(3, 4, 6);
  };
  for (int64_t k = 0; k < panels.whole; ++k) add(k, panels.steps, k * kTile);
  if (panels.more) add(panels.whole, panels.last, 0);
  StoreSums(sums);
}

// The outputs of `rows` in the panels from `panel` on.
void Group(const IntegerWeights& weights, const Panels& panels,
           const uint8_t* prepared, const IntegerRows& given,
           const IntegerOutput& output, int64_t row, int64_t row_end,
           int64_t panel) {
  const int64_t width = PaddedInputs(weights.inputs);
  const int64_t stride = given.wide ? 2 * width : width;
  const int64_t unit = panel * kIntegerPanel;
  const auto writer = [&](int64_t i) {
    const int64_t from = unit + i * kIntegerPanel;
    return Writer(weights, given, output, from, weights.units - from);
  };
  const Writer writers[kMany] = {writer(0), writer(1), writer(2), writer(3)};
  alignas(64) int32_t sums[kMany * kSums];
  while (row < row_end) {
    const uint8_t* rows = prepared + row * stride;
    const int64_t left = row_end - row;
    if (!given.wide && left <= kTileRows) {
      Multiply1x4(rows, stride, panels, sums);
      for (int64_t i = 0; i < panels.count; ++i) {
        for (int64_t r = 0; r < left; ++r) {
          writers[i].Write(row + r,
                           _mm512_load_si512(sums + i * kSums + 16 * r));
        }
      }
      return;
    }
    // Of wide rows the low bytes are one tile, and the high ones the other.
    const int64_t most = given.wide ? kTileRows : 2 * kTileRows;
    const int64_t count = left < most ? left : most;
    const uint8_t* bottom = rows + (given.wide ? width : kTileRows * stride);
    for (int64_t i = 0; i < panels.count; i += 2) {
      Multiply2x2(rows, bottom, stride, panels, static_cast<int>(i), sums);
      for (int64_t c = i; c < i + 2 && c < panels.count; ++c) {
        const int32_t* from = sums + (c - i) * kSums;
        for (int64_t r = 0; r < count; ++r) {
          __m512i sum =
              _mm512_load_si512(from + r % 16 * 16 + r / 16 * 2 * kSums);
          if (given.wide) {
            const __m512i high = _mm512_load_si512(from + 2 * kSums + 16 * r);
            sum = _mm512_add_epi32(sum, _mm512_slli_epi32(high, 8));
          }
          writers[c].Write(row + r, sum);
        }
      }
    }
    row += count;
  }
}

void Product(const IntegerWeights* weights, const void* prepared,
             const IntegerRows* given, const IntegerOutput* output, int64_t row,
             int64_t row_end, int64_t panel, int64_t panel_end) {
  const int64_t steps = (weights->inputs + 3) / 4;
  const int64_t bytes = steps * kTileBytes;
  const int64_t rest = steps % kTileRows * kTileBytes;
  const bool halves = weights->bits == 4;
  thread_local Scratch scratch;
  int8_t* room = nullptr;
  if (row_end - row > kFew) {
    room = scratch.Get<int8_t>(kMany * (kTile + (halves ? bytes : 0)));
  }
  if (room == nullptr) {
    IntegerKernelsAvx512Vnni()->product(weights, prepared, given, output, row,
                                        row_end, panel, panel_end);
    return;
  }
  int8_t* last = room;
  int8_t* unpacked = room + kMany * kTile;
  memset(last, 0, kMany * kTile);
  const TileShapes shapes;
  _tile_loadconfig(&shapes);
  for (; panel < panel_end; panel += kMany) {
    Panels panels;
    panels.count = panel_end - panel < kMany ? panel_end - panel : kMany;
    panels.whole = steps / kTileRows;
    panels.more = rest != 0;
    for (int64_t i = 0; i < kMany; ++i) {
      if (i >= panels.count) {
        panels.steps[i] = panels.steps[i - 1];
        panels.last[i] = panels.last[i - 1];
        continue;
      }
      panels.steps[i] = weights->panels + (panel + i) * bytes;
      if (halves) {
        const int64_t half_bytes = (weights->inputs + 7) / 8 * kTileBytes;
        panels.steps[i] = unpacked + i * bytes;
        WholeBytes(weights->panels + (panel + i) * half_bytes, steps,
                   unpacked + i * bytes);
      }
      panels.last[i] = last + i * kTile;
      memcpy(last + i * kTile, panels.steps[i] + panels.whole * kTile,
             static_cast<size_t>(rest));
    }
    // The compiler does not know that tiles read memory.
    __asm__ volatile("" ::: "memory");
    Group(*weights, panels, static_cast<const uint8_t*>(prepared), *given,
          *output, row, row_end, panel);
  }
  _tile_release();
}

}  // namespace

const IntegerKernels* IntegerKernelsAmx() {
  static const IntegerKernels kKernels = [] {
    IntegerKernels kernels = *IntegerKernelsAvx512Vnni();
    kernels.tile_rows = 2 * kTileRows;
    kernels.product = Product;
    return kernels;
  }();
  return &kKernels;
}

}  // namespace keras_compress
