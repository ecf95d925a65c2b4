// The product with panels, 16 columns to a vector.
//   vfmadd231ps zmm, vbroadcastss zmm; AVX512F
#include <immintrin.h>
#include <stdint.h>

#include "low_rank_matmul.h"

namespace keras_compress {
namespace {

#include "low_rank_tiles.h"

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
  // The second operand where one is NaN, or both are zero.
  static Type Relu(Type a) { return _mm512_max_ps(_mm512_setzero_ps(), a); }
};

// 24 sums hide the latency of fma twice a cycle, and leave room for 4 vectors
// of weights and a number of each row.
struct Avx512 {
  static constexpr int64_t kRows = 6;
  static void Panel(const PanelProduct& p, Columns c, int64_t row,
                    int64_t row_end) {
    c.part = (c.width - 1) % 16 + 1;
    const auto tiles = c.width == 64  ? Tiles<Lanes16, 6, 4, false>
                       : c.width > 48 ? Tiles<Lanes16, 6, 4, true>
                       : c.width > 32 ? Tiles<Lanes16, 8, 3, true>
                       : c.width > 16 ? Tiles<Lanes16, 12, 2, true>
                                      : Tiles<Lanes16, 12, 1, true>;
    tiles(p, c, row, row_end);
  }
};

const LowRankKernels kKernels = {Product<Avx512>};

}  // namespace

const LowRankKernels* LowRankKernelsAvx512() { return &kKernels; }

}  // namespace keras_compress
