// The sparse product, 8 rows to a vector.
//   _mm256_fmadd_ps           VFMADD231PS (YMM, YMM, M256)
//   _mm256_set1_ps            VBROADCASTSS (YMM, M32)
//   _mm256_unpacklo_ps/_pd, _mm256_permute2f128_ps   8 x 8 transpose
//   _mm256_max_epu16/epu32    VPMAXUW, VPMAXUD (YMM, YMM, M256)
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "sparse_matmul.h"

namespace keras_compress {
namespace {

#include "sparse_lanes.h"
#include "x86_lanes.h"

struct Avx2 {
  static constexpr int kLanes = 8;

  // Rows that the panel of a tile of `count` rows has.
  static int64_t PanelRows(int64_t count) {
    if (count <= 1) return 1;
    if (count <= 4) return 4;
    if (count <= 8) return 8;
    if (count <= 16) return 16;
    if (count <= 24) return 24;
    return 32;
  }

  template <class Index, class Rows>
  static void Tiles(const SparseWeights& weights, const Rows& rows, int64_t row,
                    int64_t count, float* outputs, float* panel) {
    if (count <= 4) {
      Tile<Lanes4, 1, 4, Index>(weights, rows, row, count, outputs, panel);
    } else if (count <= 8) {
      Tile<Lanes8, 1, 4, Index>(weights, rows, row, count, outputs, panel);
    } else if (count <= 16) {
      Tile<Lanes8, 2, 4, Index>(weights, rows, row, count, outputs, panel);
    } else if (count <= 24) {
      Tile<Lanes8, 3, 2, Index>(weights, rows, row, count, outputs, panel);
    } else {
      Tile<Lanes8, 4, 2, Index>(weights, rows, row, count, outputs, panel);
    }
  }
};

__m256i LoadIndices(const void* from) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(from));
}

uint32_t MaxIndex(const void* indices, int index_bytes, int64_t count) {
  if (index_bytes == 2) {
    const uint16_t* from = static_cast<const uint16_t*>(indices);
    __m256i most = _mm256_setzero_si256();
    int64_t p = 0;
    for (; p + 16 <= count; p += 16) {
      most = _mm256_max_epu16(most, LoadIndices(from + p));
    }
    uint16_t lanes[16];
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(lanes), most);
    const uint32_t body = LargestOf(lanes, 16);
    const uint32_t rest = LargestOf(from + p, count - p);
    return body > rest ? body : rest;
  }
  const uint32_t* from = static_cast<const uint32_t*>(indices);
  __m256i most = _mm256_setzero_si256();
  int64_t p = 0;
  for (; p + 8 <= count; p += 8) {
    most = _mm256_max_epu32(most, LoadIndices(from + p));
  }
  uint32_t lanes[8];
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(lanes), most);
  const uint32_t body = LargestOf(lanes, 8);
  const uint32_t rest = LargestOf(from + p, count - p);
  return body > rest ? body : rest;
}

const SparseKernels kKernels = {Scratch<Avx2>, Matmul<Avx2>, Conv2d<Avx2>,
                                MaxIndex};

}  // namespace

const SparseKernels* SparseKernelsAvx2() { return &kKernels; }

}  // namespace keras_compress
