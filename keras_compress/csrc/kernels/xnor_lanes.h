// The product of packed signs, units in lanes, for any width of vector.
//
// Included inside an anonymous namespace by each level, after <stdint.h>,
// <string.h> and xnor_matmul.h, so that no two levels share a compiled
// function. A level gives
//
//   Lanes::Vec, kLanes     a vector of kLanes (4, 8 or 16) units' words
//   Lanes::kRoom           words that fit into a count before it must be
//   Widened Load, Broadcast, Zero  words of kLanes units, one word for all,
//   zeros Differ, DifferWhere    a ^ b, and (a ^ b) & mask Count(count, x) adds
//   the ones of x; Widen(total, count) to int32 Sums(kept, total)      kept - 2
//   * total; LoadPart(from, units) StoreInts, StoreFloats, Below   see Finish
//   kVectors, kRows        the tile: vectors of units, and at most 3 rows

constexpr int64_t kUnlimited = INT64_MAX;

// Where the parts of a row are.
struct DenseRows {
  const uint32_t* words;
  int64_t stride;
  const uint32_t* Part(int64_t m, int64_t) const { return words + m * stride; }
};

struct TapRows {
  const uint32_t* const* taps;
  int64_t segments;
  const uint32_t* Part(int64_t m, int64_t s) const {
    return taps[m * segments + s];
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

// One row of one panel, from its totals.
template <class Lanes>
inline void Finish(const XnorWeights& weights, const XnorRows& rows,
                   const XnorOutput& output, int64_t m, int64_t panel,
                   const typename Lanes::Vec* total) {
  constexpr int kLanes = Lanes::kLanes;
  const int32_t* kept = rows.kept != nullptr ? rows.kept[m] : weights.kept;
  uint32_t bits = 0;
  for (int i = 0; i * kLanes < kPanelUnits; ++i) {
    const int64_t n = panel * kPanelUnits + i * kLanes;
    const int64_t left = weights.units - n;
    if (left <= 0) break;
    const int64_t count = left < kLanes ? left : kLanes;
    const typename Lanes::Vec sums =
        Lanes::Sums(Lanes::LoadPart(kept + n, count), total[i]);
    if (output.kind == kXnorFloats) {
      Lanes::StoreFloats(
          static_cast<float*>(output.data) + m * weights.units + n, sums,
          output.scale != nullptr ? output.scale + n : nullptr,
          output.bias != nullptr ? output.bias + n : nullptr, count,
          output.stream);
    } else if (output.kind == kXnorSums) {
      Lanes::StoreInts(
          static_cast<int32_t*>(output.data) + m * weights.units + n, sums,
          count);
    } else {
      bits |= Lanes::Below(sums, output.thresholds + n, count) << (i * kLanes);
    }
  }
  if (output.kind == kXnorBits) StoreBits(weights, output, m, panel, bits);
}

// R rows by C vectors: the whole sum of each, then what is made of it.
template <class Lanes, int R, int C, bool kMasked, class Rows>
inline void Tile(const XnorWeights& weights, const XnorRows& all,
                 const Rows& rows, const XnorOutput& output, int64_t m,
                 int64_t panel) {
  using Vec = typename Lanes::Vec;
  constexpr int kPerPanel = kPanelUnits / Lanes::kLanes;
  const int64_t stride = weights.segments * weights.words * kPanelUnits;
  const int64_t first = panel * stride;
  Vec total[R][C];
  Vec count[R][C];
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) total[r][c] = count[r][c] = Lanes::Zero();
  }
  int64_t room = Lanes::kRoom;
  int64_t at = first;
  for (int64_t s = 0; s < weights.segments; ++s) {
    const uint32_t* part[R];
    for (int r = 0; r < R; ++r) part[r] = rows.Part(m + r, s);
    for (int64_t k = 0; k < weights.words;) {
      const int64_t left = weights.words - k;
      const int64_t end = k + (left < room ? left : room);
      if (Lanes::kRoom < kUnlimited) room -= end - k;
      for (; k < end; ++k, at += kPanelUnits) {
        Vec sign[C];
        Vec mask[C];
#pragma GCC unroll 16
        for (int c = 0; c < C; ++c) {
          const int64_t from =
              at + c / kPerPanel * stride + c % kPerPanel * Lanes::kLanes;
          sign[c] = Lanes::Load(weights.signs + from);
          if (kMasked) mask[c] = Lanes::Load(weights.masks + from);
        }
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) {
          const Vec word = Lanes::Broadcast(part[r] + k);
#pragma GCC unroll 16
          for (int c = 0; c < C; ++c) {
            count[r][c] = Lanes::Count(
                count[r][c], kMasked
                                 ? Lanes::DifferWhere(word, sign[c], mask[c])
                                 : Lanes::Differ(word, sign[c]));
          }
        }
      }
      if (room == 0) {
        room = Lanes::kRoom;
        for (int r = 0; r < R; ++r) {
          for (int c = 0; c < C; ++c) {
            total[r][c] = Lanes::Widen(total[r][c], count[r][c]);
            count[r][c] = Lanes::Zero();
          }
        }
      }
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) {
      total[r][c] = Lanes::Widen(total[r][c], count[r][c]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int c = 0; c < C; c += kPerPanel) {
      Finish<Lanes>(weights, all, output, m + r, panel + c / kPerPanel,
                    total[r] + c);
    }
  }
}

// All rows by C vectors; no row alone where two pairs can be.
template <class Lanes, int C, bool kMasked, class Rows>
void Panels(const XnorWeights& weights, const XnorRows& all, const Rows& rows,
            const XnorOutput& output, int64_t row, int64_t row_end,
            int64_t panel) {
  int64_t m = row;
  if constexpr (Lanes::kRows >= 3) {
    for (; row_end - m >= 3 && row_end - m != 4; m += 3) {
      Tile<Lanes, 3, C, kMasked>(weights, all, rows, output, m, panel);
    }
  }
  for (; row_end - m >= 2; m += 2) {
    Tile<Lanes, 2, C, kMasked>(weights, all, rows, output, m, panel);
  }
  for (; m < row_end; ++m) {
    Tile<Lanes, 1, C, kMasked>(weights, all, rows, output, m, panel);
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

template <class Lanes, int C, class Rows>
inline void MaskedOrNot(const XnorWeights& weights, const XnorRows& all,
                        const Rows& rows, const XnorOutput& output, int64_t row,
                        int64_t row_end, int64_t panel) {
  if (Masked(weights, panel, C * Lanes::kLanes / kPanelUnits)) {
    Panels<Lanes, C, true>(weights, all, rows, output, row, row_end, panel);
  } else {
    Panels<Lanes, C, false>(weights, all, rows, output, row, row_end, panel);
  }
}

template <class Lanes, class Rows>
void AllPanels(const XnorWeights& weights, const XnorRows& all,
               const Rows& rows, const XnorOutput& output, int64_t row,
               int64_t row_end, int64_t panel, int64_t panel_end) {
  constexpr int kOne = kPanelUnits / Lanes::kLanes;
  constexpr int64_t kMany = Lanes::kVectors / kOne;
  if constexpr (kMany > 1) {
    for (; panel + kMany <= panel_end; panel += kMany) {
      MaskedOrNot<Lanes, Lanes::kVectors>(weights, all, rows, output, row,
                                          row_end, panel);
    }
  }
  for (; panel < panel_end; ++panel) {
    MaskedOrNot<Lanes, kOne>(weights, all, rows, output, row, row_end, panel);
  }
}

template <class Lanes>
void Product(const XnorWeights* weights, const XnorRows* rows,
             const XnorOutput* output, int64_t row, int64_t row_end,
             int64_t panel, int64_t panel_end) {
  if (rows->taps == nullptr) {
    const DenseRows dense = {rows->words, weights->segments * weights->words};
    AllPanels<Lanes>(*weights, *rows, dense, *output, row, row_end, panel,
                     panel_end);
  } else {
    const TapRows taps = {rows->taps, weights->segments};
    AllPanels<Lanes>(*weights, *rows, taps, *output, row, row_end, panel,
                     panel_end);
  }
  if (output->stream) Lanes::Fence();
}
