// The sparse product, 8 rows to a vector.
//   _mm256_fmadd_ps           VFMADD231PS (YMM, YMM, M256)
//   _mm256_set1_ps            VBROADCASTSS (YMM, M32)
//   _mm256_unpacklo_ps/_pd, _mm256_permute2f128_ps   8 x 8 transpose
//   _mm256_broadcast_ps       VBROADCASTF128 (YMM, M128)
//   _mm256_permute_ps         VPERMILPS (YMM, YMM, I8)
//   _mm256_i32gather_ps       VGATHERDPS (YMM, M32, YMM)
//   _mm256_cvtepu8_epi32      VPMOVZXBD (YMM, M64)
//   _mm256_max_epu8/epu16/epu32   VPMAXUB, VPMAXUW, VPMAXUD (YMM, YMM, M256)
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "sparse_matmul.h"

namespace keras_compress {
namespace {

#include "sparse_finish.h"
#include "sparse_lanes.h"
#include "sparse_rows.h"
#include "sparse_units.h"
#include "x86_lanes.h"
// After what it puts together.
#include "sparse_level.h"

struct Avx2 {
  static constexpr int kTileCount = 5;
  static constexpr TileKind kTiles[kTileCount] = {
      MakeTile<Lanes4, 1, 4, 8>(), MakeTile<Lanes8, 1, 4, 8>(),
      MakeTile<Lanes8, 2, 4, 4>(), MakeTile<Lanes8, 3, 2, 4>(),
      MakeTile<Lanes8, 4, 2, 2>()};
  static constexpr int kPanelTile = 3;
  static constexpr int kFewRows = 4;

  static void FewPanels(const SparseWeights& weights, const float* const* lines,
                        int64_t rows, float* outputs) {
    if (rows == 1) {
      FewPanelRows<Lanes8, 1, 4>(weights, lines, rows, outputs);
    } else if (rows == 2) {
      FewPanelRows<Lanes8, 2, 2>(weights, lines, rows, outputs);
    } else {
      FewPanelRows<Lanes8, 4, 1>(weights, lines, rows, outputs);
    }
  }

  static int64_t TableFloats(int64_t inputs) {
    return (inputs + kSparseWindow + 15) / 16 * 16;
  }
  static void MakeTable(const float* row, int64_t inputs, float* table) {
    PadRow(row, inputs, table);
  }
  static void Lanes(const SparseWeights& weights, const float* table,
                    float* outputs) {
    LaneProduct<Lanes8>(weights, table, outputs);
  }
};

__m256i LoadIndices(const void* from) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(from));
}

uint32_t MaxIndex(const void* indices, int64_t index_bytes, int64_t count) {
  if (index_bytes == 1) {
    const uint8_t* from = static_cast<const uint8_t*>(indices);
    __m256i most = _mm256_setzero_si256();
    int64_t p = 0;
    for (; p + 32 <= count; p += 32) {
      most = _mm256_max_epu8(most, LoadIndices(from + p));
    }
    uint8_t lanes[32];
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(lanes), most);
    const uint32_t body = LargestOf(lanes, 32);
    const uint32_t rest = LargestOf(from + p, count - p);
    return body > rest ? body : rest;
  }
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
