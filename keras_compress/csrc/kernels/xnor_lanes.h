// The product of packed signs, units in lanes, for any width of vector.
//
// Included inside an anonymous namespace by each level, after <stdint.h>,
// <string.h> and xnor_matmul.h, so that no two levels share a
// compiled function. A level gives
//
//   Lanes::Vec, kLanes      a vector of kLanes (4, 8 or 16) units' words
//   kVectors, kRows         the tile: vectors of units, and 2 or 4 rows
//   kPairs                  0, or what xnor_tables.h wants, too
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

#include "xnor_tables.h"

constexpr int64_t kUnlimited = INT64_MAX;

// Counts where R rows differ from C vectors of units.
template <class Lanes, int R, int C, bool kMasked, class Rows>
KC_INLINE void Differences(const XnorWeights& weights, const Rows& rows,
                           int64_t m, int64_t panel,
                           typename Lanes::Vec (&total)[R][C]) {
  using Vec = typename Lanes::Vec;
  constexpr int kPerPanel = kPanelUnits / Lanes::kLanes;
  const int64_t stride = weights.stride * kPanelUnits;
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
  const uint32_t* row[R];
  for (int r = 0; r < R; ++r) row[r] = rows.Row(m + r);
  for (int64_t s = 0; s < parts; ++s) {
    const uint32_t* part[R];
    for (int r = 0; r < R; ++r) part[r] = row[r] + rows.Offset(s);
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

// One row by one vector: words are read in the order in which they lie, which
// is what memory is fastest at, and summed in 4 turns, that need not wait.
template <class Lanes, bool kMasked, class Rows>
KC_INLINE void RowAlone(const XnorWeights& weights, const Rows& rows, int64_t m,
                        int64_t panel, typename Lanes::Vec (&total)[1][1]) {
  using Vec = typename Lanes::Vec;
  const int64_t parts = Rows::kWhole ? 1 : weights.segments;
  const int64_t words =
      Rows::kWhole ? weights.segments * weights.words : weights.words;
  const int64_t first = panel * weights.stride * kPanelUnits;
  const uint32_t* signs = weights.signs + first;
  const uint32_t* masks = kMasked ? weights.masks + first : weights.signs;
  Vec count[4] = {Lanes::Zero(), Lanes::Zero(), Lanes::Zero(), Lanes::Zero()};
  const auto add = [&](const uint32_t* word, int turn) {
    const Vec bits = Lanes::Broadcast(word);
    const Vec sign = Lanes::Load(signs + turn * kPanelUnits);
    Vec x = Lanes::Differ(bits, sign);
    if (kMasked) {
      x = Lanes::DifferWhere(bits, sign,
                             Lanes::Load(masks + turn * kPanelUnits));
    }
    count[turn] = Lanes::Plus(count[turn], Lanes::Ones(x));
  };
  for (int64_t s = 0; s < parts; ++s) {
    const uint32_t* part = rows.Row(m) + rows.Offset(s);
    int64_t k = 0;
    for (; k + 4 <= words; k += 4) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) add(part + k + i, i);
      signs += 4 * kPanelUnits;
      masks += 4 * kPanelUnits;
    }
    for (; k < words; ++k) {
      add(part + k, 0);
      signs += kPanelUnits;
      masks += kPanelUnits;
    }
  }
  total[0][0] = Lanes::Plus(Lanes::Plus(count[0], count[1]),
                            Lanes::Plus(count[2], count[3]));
}

template <class Lanes, int kKind, int R, int C, bool kMasked, class Rows>
inline void Tile(const XnorWeights& weights, const Rows& rows,
                 const XnorOutput& output, int64_t m, int64_t panel) {
  typename Lanes::Vec total[R][C];
  if constexpr (R == 1 && C == 1 && Lanes::kRoom == kUnlimited) {
    RowAlone<Lanes, kMasked>(weights, rows, m, panel, total);
  } else {
    Differences<Lanes, R, C, kMasked>(weights, rows, m, panel, total);
  }
  if (panel * kPanelUnits + C * Lanes::kLanes <= weights.units) {
    Finish<Lanes, kKind, R, C>(weights, rows, output, m, panel, total);
  } else {
    // A copy, so that totals need no memory where all panels are whole.
    typename Lanes::Vec part[R][C];
    for (int r = 0; r < R; ++r) {
      for (int c = 0; c < C; ++c) part[r][c] = total[r][c];
    }
    FinishPart<Lanes, R, C>(weights, rows, output, m, panel, part);
  }
}

// All rows by C vectors.
template <class Lanes, int kKind, int C, bool kMasked, class Rows>
void Panels(const XnorWeights& weights, const Rows& rows,
            const XnorOutput& output, int64_t row, int64_t row_end,
            int64_t panel) {
  constexpr int kOne = kPanelUnits / Lanes::kLanes;
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
    for (int p = 0; p < C / kOne; ++p) {
      Tile<Lanes, kKind, 1, kOne, kMasked>(weights, rows, output, m, panel + p);
    }
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
  if constexpr (Lanes::kPairs > 0) {
    while (panel + kTablePanels <= panel_end &&
           TablesPay(weights, row_end - row, panel)) {
      if (Masked(weights, panel, kTablePanels)) {
        for (int64_t end = panel + kTablePanels; panel < end; ++panel) {
          MaskedOrNot<Lanes, kKind, kOne>(weights, rows, output, row, row_end,
                                          panel);
        }
      } else {
        TablePanels<Lanes, kKind>(weights, rows, output, row, row_end, panel);
        panel += kTablePanels;
      }
    }
  }
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
  if (rows->starts == nullptr) {
    const DenseRows dense = {rows->words, weights->segments * weights->words,
                             weights->kept};
    AnyKind<Lanes>(*weights, dense, *output, row, row_end, panel, panel_end);
  } else {
    const PartedRows parted = {rows->words, rows->starts, rows->offsets,
                               weights->kept, rows->kept};
    AnyKind<Lanes>(*weights, parted, *output, row, row_end, panel, panel_end);
  }
}
