// What is made of the totals of a tile: floats, sums or bits.
//
// Included inside an anonymous namespace, before xnor_lanes.h, which says what
// Lanes is.

// Totals stay in registers only where nothing is called between their sums and
// their end.
#define KC_INLINE inline __attribute__((always_inline))

// Where the parts of a row are, and how many weights its sums begin with.
struct DenseRows {
  static constexpr bool kWhole = true;  // one part
  const uint32_t* words;
  int64_t stride;
  const int32_t* kept;
  const uint32_t* Row(int64_t m) const { return words + m * stride; }
  int64_t Offset(int64_t) const { return 0; }
  const int32_t* Kept(int64_t) const { return kept; }
};

struct PartedRows {
  static constexpr bool kWhole = false;
  const uint32_t* words;
  const int64_t* starts;
  const int64_t* offsets;
  const int32_t* kept;
  const int32_t* const* row_kept;
  const uint32_t* Row(int64_t m) const { return words + starts[m]; }
  int64_t Offset(int64_t s) const { return offsets[s]; }
  const int32_t* Kept(int64_t m) const {
    return row_kept != nullptr ? row_kept[m] : kept;
  }
};

// 16 bits for each panel.
template <int kPanels>
struct BitsOf;
template <>
struct BitsOf<1> {
  using Type = uint16_t;
};
template <>
struct BitsOf<2> {
  using Type = uint32_t;
};
template <>
struct BitsOf<4> {
  using Type = uint64_t;
};

// Of 1, 2 or 4 panels of a row; the last half word writes the other half too.
template <int kPanels>
inline void StoreBits(const XnorWeights& weights, const XnorOutput& output,
                      int64_t m, int64_t panel,
                      typename BitsOf<kPanels>::Type bits) {
  uint8_t* to = static_cast<uint8_t*>(output.data) +
                m * ((weights.units + 31) / 32) * 4 + panel * 2;
  typename BitsOf<kPanels>::Type flips;
  memcpy(&flips, reinterpret_cast<const uint8_t*>(output.flips) + panel * 2,
         sizeof(flips));
  bits ^= flips;
  memcpy(to, &bits, sizeof(bits));
  if (kPanels == 1 && panel % 2 == 0 &&
      kPanelUnits * (panel + 1) >= weights.units) {
    memset(to + 2, 0, 2);
  }
}

// Makes floats of totals. No bias is -0, which changes nothing.
template <class Lanes, bool kScaled, bool kStream, int R, int C, class Rows>
KC_INLINE void Floats(const XnorWeights& weights, const Rows& rows,
                      const XnorOutput& output, int64_t m, int64_t n,
                      const typename Lanes::Vec (&total)[R][C]) {
  const int32_t* kept[R];
  float* to[R];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    kept[r] = rows.Kept(m + r) + n;
    to[r] = static_cast<float*>(output.data) + (m + r) * weights.units + n;
  }
#pragma GCC unroll 16
  for (int c = 0; c < C; ++c) {
    const int64_t at = c * Lanes::kLanes;
    const auto bias = output.bias != nullptr
                          ? Lanes::LoadFloats(output.bias + n + at)
                          : Lanes::Constant(-0.0f);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      auto value = Lanes::ToFloats(
          Lanes::Sums(Lanes::LoadInts(kept[r] + at), total[r][c]));
      if constexpr (kScaled) {
        value =
            Lanes::Multiply(value, Lanes::LoadFloats(output.scale + n + at));
      }
      value = Lanes::Add(value, bias);
      if constexpr (kStream) {
        Lanes::StreamFloats(to[r] + at, value);
      } else {
        Lanes::StoreFloats(to[r] + at, value);
      }
    }
  }
}

// Makes outputs of the totals of R rows by C vectors, which is whole panels.
template <class Lanes, int kKind, int R, int C, class Rows>
KC_INLINE void Finish(const XnorWeights& weights, const Rows& rows,
                      const XnorOutput& output, int64_t m, int64_t panel,
                      const typename Lanes::Vec (&total)[R][C]) {
  const int64_t n = panel * kPanelUnits;
  if constexpr (kKind == kXnorFloats) {
    if (output.scale != nullptr) {
      if (output.stream) {
        Floats<Lanes, true, true>(weights, rows, output, m, n, total);
      } else {
        Floats<Lanes, true, false>(weights, rows, output, m, n, total);
      }
    } else if (output.stream) {
      Floats<Lanes, false, true>(weights, rows, output, m, n, total);
    } else {
      Floats<Lanes, false, false>(weights, rows, output, m, n, total);
    }
    return;
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    const int32_t* kept = rows.Kept(m + r) + n;
    using Bits = typename BitsOf<C * Lanes::kLanes / kPanelUnits>::Type;
    Bits bits = 0;
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) {
      const int64_t at = c * Lanes::kLanes;
      const auto sums = Lanes::Sums(Lanes::LoadInts(kept + at), total[r][c]);
      if constexpr (kKind == kXnorSums) {
        Lanes::StoreInts(static_cast<int32_t*>(output.data) +
                             (m + r) * weights.units + n + at,
                         sums);
      } else {
        const Bits below = static_cast<Bits>(
            Lanes::Below(sums, Lanes::LoadInts(output.thresholds + n + at)));
        bits |= static_cast<Bits>(below << at);
      }
    }
    if constexpr (kKind == kXnorBits) {
      StoreBits<C * Lanes::kLanes / kPanelUnits>(weights, output, m + r, panel,
                                                 bits);
    }
  }
}

// The same for a panel that units end in, by plain loops.
template <class Lanes, int R, int C, class Rows>
__attribute__((noinline)) void FinishPart(
    const XnorWeights& weights, const Rows& rows, const XnorOutput& output,
    int64_t m, int64_t panel, const typename Lanes::Vec (&total)[R][C]) {
  for (int r = 0; r < R; ++r) {
    int32_t totals[C * Lanes::kLanes];
    for (int c = 0; c < C; ++c) {
      Lanes::StoreInts(totals + c * Lanes::kLanes, total[r][c]);
    }
    const int64_t first = panel * kPanelUnits;
    const int64_t end = first + C * Lanes::kLanes;
    uint32_t bits = 0;
    for (int64_t n = first; n < end && n < weights.units; ++n) {
      const int32_t sum = rows.Kept(m + r)[n] - 2 * totals[n - first];
      const int64_t to = (m + r) * weights.units + n;
      if (output.kind == kXnorFloats) {
        float value = static_cast<float>(sum);
        if (output.scale != nullptr) value *= output.scale[n];
        if (output.bias != nullptr) value += output.bias[n];
        static_cast<float*>(output.data)[to] = value;
      } else if (output.kind == kXnorSums) {
        static_cast<int32_t*>(output.data)[to] = sum;
      } else {
        bits |= uint32_t{sum < output.thresholds[n]} << (n % kPanelUnits);
        if (n % kPanelUnits == kPanelUnits - 1 || n + 1 == weights.units) {
          StoreBits<1>(weights, output, m + r, n / kPanelUnits,
                       static_cast<uint16_t>(bits));
          bits = 0;
        }
      }
    }
  }
}
