// The sparse product, 16 rows to a vector.
//   _mm512_fmadd_ps           VFMADD231PS (ZMM, ZMM, M512)
//   _mm512_set1_ps            VBROADCASTSS (ZMM, M32)
//   _mm512_unpacklo_ps/_pd, _mm512_shuffle_f32x4   16 x 16 transpose
//   _mm512_max_epu16/epu32    VPMAXUW, VPMAXUD (ZMM, ZMM, M512)
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "sparse_matmul.h"

namespace keras_compress {
namespace {

#include "sparse_lanes.h"
#include "x86_lanes.h"

struct Lanes16 {
  using Type = __m512;
  static constexpr int kLanes = 16;
  static __mmask16 First(int64_t count) {
    return static_cast<__mmask16>((1u << count) - 1u);
  }
  static Type Zero() { return _mm512_setzero_ps(); }
  static Type Load(const float* from) { return _mm512_loadu_ps(from); }
  static Type LoadPart(const float* from, int64_t count) {
    return _mm512_maskz_loadu_ps(First(count), from);
  }
  static void Store(float* to, Type value) { _mm512_storeu_ps(to, value); }
  static void StorePart(float* to, Type value, int64_t count) {
    _mm512_mask_storeu_ps(to, First(count), value);
  }
  static Type Broadcast(const float* from) { return _mm512_set1_ps(*from); }
  static Type Fma(Type a, Type b, Type c) { return _mm512_fmadd_ps(a, b, c); }
  static Type Add(Type a, Type b) { return _mm512_add_ps(a, b); }
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
  static constexpr int kLanes = 16;

  // Rows that the panel of a tile of `count` rows has.
  static int64_t PanelRows(int64_t count) {
    if (count <= 1) return 1;
    if (count <= 4) return 4;
    if (count <= 8) return 8;
    if (count <= 16) return 16;
    if (count <= 32) return 32;
    if (count <= 48) return 48;
    return 64;
  }

  template <class Index, class Rows>
  static void Tiles(const SparseWeights& weights, const Rows& rows, int64_t row,
                    int64_t count, float* outputs, float* panel) {
    if (count <= 4) {
      Tile<Lanes4, 1, 4, Index>(weights, rows, row, count, outputs, panel);
    } else if (count <= 8) {
      Tile<Lanes8, 1, 4, Index>(weights, rows, row, count, outputs, panel);
    } else if (count <= 16) {
      Tile<Lanes16, 1, 4, Index>(weights, rows, row, count, outputs, panel);
    } else if (count <= 32) {
      Tile<Lanes16, 2, 4, Index>(weights, rows, row, count, outputs, panel);
    } else if (count <= 48) {
      Tile<Lanes16, 3, 2, Index>(weights, rows, row, count, outputs, panel);
    } else {
      Tile<Lanes16, 4, 2, Index>(weights, rows, row, count, outputs, panel);
    }
  }
};

uint32_t MaxIndex(const void* indices, int index_bytes, int64_t count) {
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
