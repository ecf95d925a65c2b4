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

#include "xnor_finish.h"
// After KC_INLINE.
#include "xnor_avx512.h"
#include "xnor_lanes.h"

// 4 x 4 sums in registers. A sum takes 3 operations a word, and 4 start in a
// cycle where they come as 4 times the same.
struct Popcnt16 : Lanes16 {
  static constexpr int kVectors = 4;
  static constexpr int kRows = 4;
  static constexpr int kPairs = 0;
  static constexpr int64_t kRoom = kUnlimited;
  static Vec Ones(Vec x) { return _mm512_popcnt_epi32(x); }
  static Vec Widen(Vec, Vec count) { return count; }
};

const XnorKernels kKernels = {Pack, Product<Popcnt16>};

}  // namespace

const XnorKernels* XnorKernelsAvx512Popcnt() { return &kKernels; }

}  // namespace keras_compress
