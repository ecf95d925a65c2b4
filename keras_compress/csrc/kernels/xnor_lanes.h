// The product of packed signs, units in lanes, for any width of vector.
//
// Included inside an anonymous namespace by each level, after <stdint.h>,
// <string.h> and xnor_matmul.h, so that no two levels share a compiled
// function. A level gives
//
//   Lanes::Vec, kLanes      a vector of kLanes (4, 8 or 16) units' words
//   kVectors, kRows         the tile: vectors of units, and 2 or 4 rows
//   kRoom                   words that fit into a count before it is Widened
//   Zero, Load, Broadcast   zeros, words of kLanes units, one word for all
//   Differ, DifferWhere     a ^ b, and (a ^ b) & mask
//   Ones(x), Plus           counts of ones, and their sum; Widen(total, count)
//   Together(x)             keeps the order of what is done to a row of vectors
//   Sums(kept, total)       kept - 2 * total
//   Below(sums, thresholds) one bit for each lane
//   LoadInts, StoreInts     int32 lanes, as Vec
//   LoadFloats, StoreFloats, StreamFloats, ToFloats, Constant,
//     Multiply, Add         floats
//   Fence                   ends a row of StreamFloats

constexpr int64_t kUnlimited = INT64_MAX;

// Where the parts of a row are, and how many weights its sums begin with.
struct DenseRows {
  static constexpr bool kWhole = true;  // one part
  const uint32_t* words;
  int64_t stride;
  const int32_t* kept;
  const uint32_t* Part(int64_t m, int64_t) const { return words + m * stride; }
  const int32_t* Kept(int64_t) const { return kept; }
};

struct TapRows {
  static constexpr bool kWhole = false;
  const uint32_t* const* taps;
  int64_t segments;
  const int32_t* kept;
  const int32_t* const* row_kept;
  const uint32_t* Part(int64_t m, int64_t s) const {
    return taps[m * segments + s];
  }
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

// Counts where R rows differ from C vectors of units.
template <class Lanes, int R, int C, bool kMasked, class Rows>
inline void Differences(const XnorWeights& weights, const Rows& rows, int64_t m,
                        int64_t panel, typename Lanes::Vec (&total)[R][C]) {
  using Vec = typename Lanes::Vec;
  constexpr int kPerPanel = kPanelUnits / Lanes::kLanes;
  const int64_t stride = weights.segments * weights.words * kPanelUnits;
  const uint32_t* signs = weights.signs + panel * stride;
  const uint32_t* masks =
      kMasked ? weights.masks + panel * stride : weights.signs;
  Vec count[R][C];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) total[r][c] = count[r][c] = Lanes::Zero();
  }
  int64_t room = Lanes::kRoom;
  const int64_t parts = Rows::kWhole ? 1 : weights.segments;
  const int64_t words =
      Rows::kWhole ? weights.segments * weights.words : weights.words;
  for (int64_t s = 0; s < parts; ++s) {
    const uint32_t* part[R];
    for (int r = 0; r < R; ++r) part[r] = rows.Part(m + r, s);
    for (int64_t k = 0; k < words;) {
      int64_t end = words;
      if constexpr (Lanes::kRoom != kUnlimited) {
        if (end - k > room) end = k + room;
        room -= end - k;
      }
      for (; k < end; ++k, signs += kPanelUnits, masks += kPanelUnits) {
        Vec sign[C];
        Vec mask[C];
#pragma GCC unroll 16
        for (int c = 0; c < C; ++c) {
          const int64_t at =
              c / kPerPanel * stride + c % kPerPanel * Lanes::kLanes;
          // A row alone reads each word once: the next panels are on their way.
          if (R == 1) __builtin_prefetch(signs + at + C / kPerPanel * stride);
          sign[c] = Lanes::Load(signs + at);
          if (kMasked) mask[c] = Lanes::Load(masks + at);
        }
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) {
          const Vec word = Lanes::Broadcast(part[r] + k);
          Vec x[C];
#pragma GCC unroll 16
          for (int c = 0; c < C; ++c) {
            x[c] = kMasked ? Lanes::DifferWhere(word, sign[c], mask[c])
                           : Lanes::Differ(word, sign[c]);
          }
          Lanes::Together(x);
#pragma GCC unroll 16
          for (int c = 0; c < C; ++c) x[c] = Lanes::Ones(x[c]);
          Lanes::Together(x);
#pragma GCC unroll 16
          for (int c = 0; c < C; ++c) {
            count[r][c] = Lanes::Plus(count[r][c], x[c]);
          }
          Lanes::Together(count[r]);
        }
      }
      if (Lanes::kRoom != kUnlimited && room == 0) {
        room = Lanes::kRoom;
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
          for (int c = 0; c < C; ++c) {
            total[r][c] = Lanes::Widen(total[r][c], count[r][c]);
            count[r][c] = Lanes::Zero();
          }
        }
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) {
      total[r][c] = Lanes::Widen(total[r][c], count[r][c]);
    }
  }
}

template <class Lanes, int kKind, int R, int C, bool kMasked, class Rows>
inline void Tile(const XnorWeights& weights, const Rows& rows,
                 const XnorOutput& output, int64_t m, int64_t panel) {
  typename Lanes::Vec total[R][C];
  Differences<Lanes, R, C, kMasked>(weights, rows, m, panel, total);
  if (panel * kPanelUnits + C * Lanes::kLanes <= weights.units) {
    Finish<Lanes, kKind, R, C>(weights, rows, output, m, panel, total);
  } else {
    FinishPart<Lanes, R, C>(weights, rows, output, m, panel, total);
  }
}

// All rows by C vectors.
template <class Lanes, int kKind, int C, bool kMasked, class Rows>
void Panels(const XnorWeights& weights, const Rows& rows,
            const XnorOutput& output, int64_t row, int64_t row_end,
            int64_t panel) {
  int64_t m = row;
  if constexpr (Lanes::kRows == 4) {
    for (; row_end - m >= 4; m += 4) {
      Tile<Lanes, kKind, 4, C, kMasked>(weights, rows, output, m, panel);
    }
  }
  for (; row_end - m >= 2; m += 2) {
    Tile<Lanes, kKind, 2, C, kMasked>(weights, rows, output, m, panel);
  }
  for (; m < row_end; ++m) {
    Tile<Lanes, kKind, 1, C, kMasked>(weights, rows, output, m, panel);
  }
}

// Whether some unit of these panels has a weight that is dropped.
inline bool Masked(const XnorWeights& weights, int64_t panel, int64_t panels) {
  if (weights.masks == nullptr) return false;
  bool full = true;
  for (int64_t n = panel * kPanelUnits;
       n < (panel + panels) * kPanelUnits && n < weights.units; ++n) {
    full &= weights.kept[n] == weights.inputs;
  }
  return !full;
}

template <class Lanes, int kKind, int C, class Rows>
inline void MaskedOrNot(const XnorWeights& weights, const Rows& rows,
                        const XnorOutput& output, int64_t row, int64_t row_end,
                        int64_t panel) {
  if (Masked(weights, panel, C * Lanes::kLanes / kPanelUnits)) {
    Panels<Lanes, kKind, C, true>(weights, rows, output, row, row_end, panel);
  } else {
    Panels<Lanes, kKind, C, false>(weights, rows, output, row, row_end, panel);
  }
}

template <class Lanes, int kKind, class Rows>
void AllPanels(const XnorWeights& weights, const Rows& rows,
               const XnorOutput& output, int64_t row, int64_t row_end,
               int64_t panel, int64_t panel_end) {
  constexpr int kOne = kPanelUnits / Lanes::kLanes;
  constexpr int64_t kMany = Lanes::kVectors / kOne;
  if constexpr (kMany > 1) {
    for (; panel + kMany <= panel_end; panel += kMany) {
      MaskedOrNot<Lanes, kKind, Lanes::kVectors>(weights, rows, output, row,
                                                 row_end, panel);
    }
  }
  for (; panel < panel_end; ++panel) {
    MaskedOrNot<Lanes, kKind, kOne>(weights, rows, output, row, row_end, panel);
  }
  if (output.stream) Lanes::Fence();
}

template <class Lanes, class Rows>
void AnyKind(const XnorWeights& weights, const Rows& rows,
             const XnorOutput& output, int64_t row, int64_t row_end,
             int64_t panel, int64_t panel_end) {
  if (output.kind == kXnorFloats) {
    AllPanels<Lanes, kXnorFloats>(weights, rows, output, row, row_end, panel,
                                  panel_end);
  } else if (output.kind == kXnorSums) {
    AllPanels<Lanes, kXnorSums>(weights, rows, output, row, row_end, panel,
                                panel_end);
  } else {
    AllPanels<Lanes, kXnorBits>(weights, rows, output, row, row_end, panel,
                                panel_end);
  }
}

template <class Lanes>
void Product(const XnorWeights* weights, const XnorRows* rows,
             const XnorOutput* output, int64_t row, int64_t row_end,
             int64_t panel, int64_t panel_end) {
  if (rows->taps == nullptr) {
    const DenseRows dense = {rows->words, weights->segments * weights->words,
                             weights->kept};
    AnyKind<Lanes>(*weights, dense, *output, row, row_end, panel, panel_end);
  } else {
    const TapRows taps = {rows->taps, weights->segments, weights->kept,
                          rows->kept};
    AnyKind<Lanes>(*weights, taps, *output, row, row_end, panel, panel_end);
  }
}
