// The sparse product, 16 rows to a vector.
//   _mm512_fmadd_ps           VFMADD231PS (ZMM, ZMM, M512)
//   _mm512_set1_ps            VBROADCASTSS (ZMM, M32)
//   _mm512_unpacklo_ps/_pd, _mm512_shuffle_f32x4   16 x 16 transpose
//   _mm512_broadcast_f32x4    VBROADCASTF32X4 (ZMM, M128)
//   _mm512_permute_ps         VPERMILPS (ZMM, ZMM, I8)
//   _mm512_permutex2var_ps    VPERMI2PS (ZMM, ZMM, ZMM)
//   _mm512_cvtepu8_epi32      VPMOVZXBD (ZMM, M128)
//   _mm512_max_epu8/epu16/epu32   VPMAXUB, VPMAXUW, VPMAXUD (ZMM, ZMM, M512)
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "sparse_matmul.h"

namespace keras_compress {
namespace {

#include "avx512_lanes.h"
#include "sparse_finish.h"
#include "sparse_lanes.h"
#include "sparse_rows.h"
#include "sparse_units.h"
#include "x86_lanes.h"
// After what it puts together.
#include "sparse_level.h"

struct Lanes16 : Floats16 {
  // Measured on Ice Lake: twice as many fma as loads of 64 bytes.
  static constexpr bool kLoadsAreDear = true;
  using Four = __m512;
  static Four LoadFour(const float* from) {
    Four four = _mm512_broadcast_f32x4(_mm_loadu_ps(from));
    asm("" : "+v"(four));  // else it is loaded again for each of them
    return four;
  }
  template <int i>
  static Type Of(Four four) {
    return _mm512_permute_ps(four, i * 0x55);
  }
  // Of the table that has 16 inputs from every fourth on.
  struct Window {
    Type first, second;
  };
  static Window At(const float* table, int64_t window) {
    return {Load(table + window * 16), Load(table + window * 16 + 64)};
  }
  static Type Pick(const Window& window, const uint8_t* index) {
    const __m512i lanes = _mm512_cvtepu8_epi32(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(index)));
    return _mm512_permutex2var_ps(window.first, lanes, window.second);
  }
  static Type LowPairs(Type a, Type b) {
    return _mm512_castpd_ps(
        _mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
  }
  static Type HighPairs(Type a, Type b) {
    return _mm512_castpd_ps(
        _mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
  }
  static void Transpose(Type* r) {
    Type t[16];
    for (int i = 0; i < 16; i += 2) {
      t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
      t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    // r[4 i + j]: in quarter q, column 4 q + j of rows 4 i to 4 i + 3.
    for (int i = 0; i < 16; i += 4) {
      r[i] = LowPairs(t[i], t[i + 2]);
      r[i + 1] = HighPairs(t[i], t[i + 2]);
      r[i + 2] = LowPairs(t[i + 1], t[i + 3]);
      r[i + 3] = HighPairs(t[i + 1], t[i + 3]);
    }
    for (int j = 0; j < 4; ++j) {
      const Type a = _mm512_shuffle_f32x4(r[j], r[4 + j], 0x88);
      const Type b = _mm512_shuffle_f32x4(r[8 + j], r[12 + j], 0x88);
      const Type c = _mm512_shuffle_f32x4(r[j], r[4 + j], 0xdd);
      const Type d = _mm512_shuffle_f32x4(r[8 + j], r[12 + j], 0xdd);
      r[j] = _mm512_shuffle_f32x4(a, b, 0x88);
      r[4 + j] = _mm512_shuffle_f32x4(c, d, 0x88);
      r[8 + j] = _mm512_shuffle_f32x4(a, b, 0xdd);
      r[12 + j] = _mm512_shuffle_f32x4(c, d, 0xdd);
    }
  }
};

struct Avx512 {
  // Two columns of 64 rows are 8 vectors of sums, enough to hide the latency of
  // fma twice a cycle; 8 columns of a panel with 32 rows are 16, and load 10
  // vectors for their 16 fma.
  static constexpr int kTileCount = 6;
  static constexpr TileKind kTiles[kTileCount] = {
      MakeTile<Lanes4, 1, 4, 8>(),   MakeTile<Lanes8, 1, 4, 8>(),
      MakeTile<Lanes16, 1, 4, 16>(), MakeTile<Lanes16, 2, 4, 8>(),
      MakeTile<Lanes16, 3, 2, 8>(),  MakeTile<Lanes16, 4, 2, 4>()};
  static constexpr int kPanelTile = 5;
  static constexpr int kFewRows = 8;

  static void FewPanels(const SparseWeights& weights, const float* const* lines,
                        int64_t rows, float* outputs) {
    if (rows == 1) {
      FewPanelRows<Lanes16, 1, 4>(weights, lines, rows, outputs);
    } else if (rows == 2) {
      FewPanelRows<Lanes16, 2, 4>(weights, lines, rows, outputs);
    } else if (rows <= 4) {
      FewPanelRows<Lanes16, 4, 2>(weights, lines, rows, outputs);
    } else {
      FewPanelRows<Lanes16, 8, 1>(weights, lines, rows, outputs);
    }
  }

  static int64_t TableFloats(int64_t inputs) { return (inputs + 35) / 4 * 16; }
  // 16 inputs from every fourth on, so that every window is two whole lines.
  static void MakeTable(const float* row, int64_t inputs, float* table) {
    int64_t k = 0;
    for (; k + 16 <= inputs; k += 4) {
      _mm512_store_ps(table + k * 4, _mm512_loadu_ps(row + k));
    }
    for (; k * 4 < TableFloats(inputs); k += 4) {
      const int64_t left = inputs > k ? inputs - k : 0;
      _mm512_store_ps(table + k * 4, Lanes16::LoadPart(row + k, left));
    }
  }
  static void Lanes(const SparseWeights& weights, const float* table,
                    float* outputs) {
    LaneProduct<Lanes16>(weights, table, outputs);
  }
};

uint32_t MaxIndex(const void* indices, int64_t index_bytes, int64_t count) {
  if (index_bytes == 1) {
    const uint8_t* from = static_cast<const uint8_t*>(indices);
    __m512i most = _mm512_setzero_si512();
    int64_t p = 0;
    for (; p + 64 <= count; p += 64) {
      most = _mm512_max_epu8(most, _mm512_loadu_si512(from + p));
    }
    uint8_t lanes[64];
    _mm512_storeu_si512(lanes, most);
    const uint32_t body = LargestOf(lanes, 64);
    const uint32_t rest = LargestOf(from + p, count - p);
    return body > rest ? body : rest;
  }
  if (index_bytes == 2) {
    const uint16_t* from = static_cast<const uint16_t*>(indices);
    __m512i most = _mm512_setzero_si512();
    int64_t p = 0;
    for (; p + 32 <= count; p += 32) {
      most = _mm512_max_epu16(most, _mm512_loadu_si512(from + p));
    }
    uint16_t lanes[32];
    _mm512_storeu_si512(lanes, most);
    const uint32_t body = LargestOf(lanes, 32);
    const uint32_t rest = LargestOf(from + p, count - p);
    return body > rest ? body : rest;
  }
  const uint32_t* from = static_cast<const uint32_t*>(indices);
  __m512i most = _mm512_setzero_si512();
  int64_t p = 0;
  for (; p + 16 <= count; p += 16) {
    most = _mm512_max_epu32(most, _mm512_loadu_si512(from + p));
  }
  uint32_t lanes[16];
  _mm512_storeu_si512(lanes, most);
  const uint32_t body = LargestOf(lanes, 16);
  const uint32_t rest = LargestOf(from + p, count - p);
  return body > rest ? body : rest;
}

const SparseKernels kKernels = {Scratch<Avx512>, Matmul<Avx512>, Conv2d<Avx512>,
                                MaxIndex};

}  // namespace

const SparseKernels* SparseKernelsAvx512() { return &kKernels; }

}  // namespace keras_compress
