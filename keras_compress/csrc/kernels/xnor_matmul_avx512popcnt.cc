// The product of packed signs where a vector of words is counted at once.
//   _mm512_popcnt_epi32         VPOPCNTD (ZMM, ZMM)
//   _mm512_ternarylogic_epi32   VPTERNLOGD (ZMM, ZMM, ZMM)
//   _mm512_cmp_ps_mask          VCMPPS (K, ZMM, ZMM)
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "xnor_matmul.h"

namespace keras_compress {
namespace {

#include "xnor_avx512.h"
#include "xnor_lanes.h"

// 3 x 4 sums in registers: 3 operations each, 4 of which start in a cycle.
struct Popcnt16 : Lanes16 {
  static constexpr int kVectors = 4;
  static constexpr int kRows = 3;
  static constexpr int64_t kRoom = kUnlimited;
  static Vec Count(Vec count, Vec x) {
    return _mm512_add_epi32(count, _mm512_popcnt_epi32(x));
  }
  static Vec Widen(Vec, Vec count) { return count; }
};

const XnorKernels kKernels = {Pack, Product<Popcnt16>};

}  // namespace

const XnorKernels* XnorKernelsAvx512Popcnt() { return &kKernels; }

}  // namespace keras_compress
