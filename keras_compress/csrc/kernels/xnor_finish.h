// What is made of the totals of a tile: floats, sums or bits.
//
// Included inside an anonymous namespace, before xnor_lanes.h, which says what
// Lanes is.

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

// 16 bits of a row of bits; the last half word writes the other half too.
inline void StoreBits(const XnorWeights& weights, const XnorOutput& output,
                      int64_t m, int64_t panel, uint32_t bits) {
  uint8_t* halves = static_cast<uint8_t*>(output.data) +
                    m * ((weights.units + 31) / 32) * 4 + panel * 2;
  uint16_t flips;
  memcpy(&flips, reinterpret_cast<const uint8_t*>(output.flips) + panel * 2, 2);
  const uint16_t half = static_cast<uint16_t>(bits) ^ flips;
  memcpy(halves, &half, 2);
  if (panel % 2 == 0 && kPanelUnits * (panel + 1) >= weights.units) {
    memset(halves + 2, 0, 2);
  }
}

// Makes floats of totals. No scale is 1 and no bias is -0, which change
// nothing.
template <class Lanes, bool kStream, int R, int C, class Rows>
inline void Floats(const XnorWeights& weights, const Rows& rows,
                   const XnorOutput& output, int64_t m, int64_t n,
                   const typename Lanes::Vec (&total)[R][C]) {
#pragma GCC unroll 16
  for (int c = 0; c < C; ++c) {
    const int64_t from = n + c * Lanes::kLanes;
    const auto scale = output.scale != nullptr
                           ? Lanes::LoadFloats(output.scale + from)
                           : Lanes::Constant(1.0f);
    const auto bias = output.bias != nullptr
                          ? Lanes::LoadFloats(output.bias + from)
                          : Lanes::Constant(-0.0f);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const auto sums =
          Lanes::Sums(Lanes::LoadInts(rows.Kept(m + r) + from), total[r][c]);
      const auto value =
          Lanes::Add(Lanes::Multiply(Lanes::ToFloats(sums), scale), bias);
      float* to =
          static_cast<float*>(output.data) + (m + r) * weights.units + from;
      if (kStream) {
        Lanes::StreamFloats(to, value);
      } else {
        Lanes::StoreFloats(to, value);
      }
    }
  }
}

// Makes outputs of the totals of R rows by C vectors, which is whole panels.
template <class Lanes, int kKind, int R, int C, class Rows>
inline void Finish(const XnorWeights& weights, const Rows& rows,
                   const XnorOutput& output, int64_t m, int64_t panel,
                   const typename Lanes::Vec (&total)[R][C]) {
  constexpr int kPerPanel = kPanelUnits / Lanes::kLanes;
  const int64_t n = panel * kPanelUnits;
  if constexpr (kKind == kXnorFloats) {
    if (output.stream) {
      Floats<Lanes, true, R, C>(weights, rows, output, m, n, total);
    } else {
      Floats<Lanes, false, R, C>(weights, rows, output, m, n, total);
    }
    return;
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    uint32_t bits = 0;
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) {
      const int64_t from = n + c * Lanes::kLanes;
      const auto sums =
          Lanes::Sums(Lanes::LoadInts(rows.Kept(m + r) + from), total[r][c]);
      if constexpr (kKind == kXnorSums) {
        Lanes::StoreInts(
            static_cast<int32_t*>(output.data) + (m + r) * weights.units + from,
            sums);
        continue;
      }
      bits |= Lanes::Below(sums, Lanes::LoadInts(output.thresholds + from))
              << (c % kPerPanel * Lanes::kLanes);
      if (c % kPerPanel == kPerPanel - 1) {
        StoreBits(weights, output, m + r, panel + c / kPerPanel, bits);
        bits = 0;
      }
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
          StoreBits(weights, output, m + r, n / kPanelUnits, bits);
          bits = 0;
        }
      }
    }
  }
}
