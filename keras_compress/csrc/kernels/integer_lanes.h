// The integer product, units in lanes, for any width of vector.
//
// Included inside an anonymous namespace by each level, after
// integer_finish.h. A level gives
//
//   Lanes::Sums, kUnits      what adds up for kUnits (4, 8 or 16) units
//   Lanes::Input, Row        4 inputs of one row for all lanes; a row's numbers
//   kVectors, kRows          the tile: vectors of units, and rows
//   Zero, Broadcast(row + k) zeros, and 4 inputs from the k-th on
//   Weights(bytes)           the weights of 4 inputs, as Multiply takes them
//   Low(bytes), High(bytes)  the same of two times 4 inputs, of 4 bits each
//   Multiply(sums, input, weights)
//   Store(sums, to, small)   kUnits sums; `small` where weights have 4 bits

// Adds R rows by C vectors into registers, then stores them to `to`.
template <class Lanes, int R, int C, bool kSmall>
inline void Tile(const int8_t* panels, int64_t stride, int64_t steps,
                 const typename Lanes::Row* rows, int64_t width, int32_t* to,
                 int64_t to_stride) {
  typename Lanes::Sums sums[R][C];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) sums[r][c] = Lanes::Zero();
  }
  constexpr int kPerPanel = static_cast<int>(kIntegerPanel) / Lanes::kUnits;
  constexpr int64_t kBytes = kIntegerPanel * 4;
  for (int64_t s = 0; s < steps; ++s, panels += kBytes) {
#pragma GCC unroll 2
    for (int half = 0; half < (kSmall ? 2 : 1); ++half) {
      typename Lanes::Weight weight[C];
#pragma GCC unroll 16
      for (int c = 0; c < C; ++c) {
        const int8_t* from =
            panels + c / kPerPanel * stride + c % kPerPanel * Lanes::kUnits * 4;
        weight[c] = !kSmall     ? Lanes::Weights(from)
                    : half == 0 ? Lanes::Low(from)
                                : Lanes::High(from);
      }
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const typename Lanes::Input input = Lanes::Broadcast(
            rows + r * width + (kSmall ? 8 * s + 4 * half : 4 * s));
#pragma GCC unroll 16
        for (int c = 0; c < C; ++c) {
          sums[r][c] = Lanes::Multiply(sums[r][c], input, weight[c]);
        }
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) {
      Lanes::Store(sums[r][c], to + r * to_stride + c * Lanes::kUnits, kSmall);
    }
  }
}

// One row by one panel, in 4 turns that need not wait for each other: memory is
// read in the order in which it lies.
template <class Lanes, bool kSmall>
inline void RowAlone(const int8_t* panel, int64_t steps,
                     const typename Lanes::Row* row, int32_t* to) {
  constexpr int kPerPanel = static_cast<int>(kIntegerPanel) / Lanes::kUnits;
  constexpr int kTurns = 4;
  constexpr int64_t kBytes = kIntegerPanel * 4;
  typename Lanes::Sums sums[kTurns][kPerPanel];
#pragma GCC unroll 4
  for (int t = 0; t < kTurns; ++t) {
#pragma GCC unroll 4
    for (int c = 0; c < kPerPanel; ++c) sums[t][c] = Lanes::Zero();
  }
  const auto step = [&](int64_t s, int t) {
#pragma GCC unroll 4
    for (int c = 0; c < kPerPanel; ++c) {
      const int8_t* from = panel + s * kBytes + c * Lanes::kUnits * 4;
      if (kSmall) {
        sums[t][c] = Lanes::Multiply(sums[t][c], Lanes::Broadcast(row + 8 * s),
                                     Lanes::Low(from));
        sums[t][c] = Lanes::Multiply(
            sums[t][c], Lanes::Broadcast(row + 8 * s + 4), Lanes::High(from));
      } else {
        sums[t][c] = Lanes::Multiply(sums[t][c], Lanes::Broadcast(row + 4 * s),
                                     Lanes::Weights(from));
      }
    }
  };
  int64_t s = 0;
  for (; s + kTurns <= steps; s += kTurns) {
    // Ahead of the memory by some lines, past the end of the panel, too.
    __builtin_prefetch(panel + s * kBytes + 4096);
    __builtin_prefetch(panel + s * kBytes + 4096 + 128);
#pragma GCC unroll 4
    for (int t = 0; t < kTurns; ++t) step(s + t, t);
  }
  for (; s < steps; ++s) step(s, 0);
#pragma GCC unroll 4
  for (int c = 0; c < kPerPanel; ++c) {
    const auto both = Lanes::Add(Lanes::Add(sums[0][c], sums[1][c]),
                                 Lanes::Add(sums[2][c], sums[3][c]));
    Lanes::Store(both, to + c * Lanes::kUnits, kSmall);
  }
}

// Sums of `count` rows, R at most, by C vectors, without bias.
template <class Lanes, int R, int C, bool kSmall>
inline void Rows(const int8_t* panels, int64_t stride, int64_t steps,
                 const typename Lanes::Row* rows, int64_t width, int64_t count,
                 int32_t* to) {
  constexpr int kPerPanel = static_cast<int>(kIntegerPanel) / Lanes::kUnits;
  if constexpr (R == 1) {
    for (int p = 0; p < C / kPerPanel; ++p) {
      RowAlone<Lanes, kSmall>(panels + p * stride, steps, rows,
                              to + p * kIntegerPanel);
    }
  } else if (count == R) {
    Tile<Lanes, R, C, kSmall>(panels, stride, steps, rows, width, to,
                              C * Lanes::kUnits);
  } else {
    Rows<Lanes, R - 1, C, kSmall>(panels, stride, steps, rows, width, count,
                                  to);
  }
}

template <class Lanes, int C>
inline void RowsOf(const IntegerWeights& weights, int64_t panel,
                   const typename Lanes::Row* rows, int64_t width,
                   int64_t count, int32_t* to) {
  const int64_t steps = PanelSteps(weights);
  const int64_t stride = steps * kIntegerPanel * 4;
  const int8_t* panels = weights.panels + panel * stride;
  if (weights.bits == 8) {
    Rows<Lanes, Lanes::kRows, C, false>(panels, stride, steps, rows, width,
                                        count, to);
  } else {
    Rows<Lanes, Lanes::kRows, C, true>(panels, stride, steps, rows, width,
                                       count, to);
  }
}

template <class Lanes, int C>
inline void Block(const IntegerWeights& weights, const void* prepared,
                  const IntegerRows& given, const IntegerOutput& output,
                  int64_t row, int64_t row_end, int64_t panel) {
  constexpr int64_t kUnits = C * Lanes::kUnits;
  alignas(64) int32_t sums[Lanes::kRows * kUnits];
  const int64_t unit = panel * kIntegerPanel;
  const int64_t left = weights.units - unit;
  const int64_t units = left < kUnits ? left : kUnits;
  for (int64_t count; row < row_end; row += count) {
    // Tiles of nearly the same height: a low one costs nearly as much.
    const int64_t rows = row_end - row;
    const int64_t tiles = (rows + Lanes::kRows - 1) / Lanes::kRows;
    count = (rows + tiles - 1) / tiles;
    Lanes::template Add32<C>(weights, prepared, given, row, count, panel, sums);
    for (int64_t r = 0; r < count; ++r) {
      int32_t* of_row = sums + r * kUnits;
      Lanes::Correct(weights, given, unit, units, of_row);
      Finish(output, weights.units, row + r, unit, units, of_row);
    }
  }
}

// The panels [panel, panel_end), which are fewer than those of C vectors.
template <class Lanes, int C>
inline void LastPanels(const IntegerWeights& weights, const void* prepared,
                       const IntegerRows& given, const IntegerOutput& output,
                       int64_t row, int64_t row_end, int64_t panel,
                       int64_t panel_end) {
  constexpr int kPerPanel = static_cast<int>(kIntegerPanel) / Lanes::kUnits;
  constexpr int kFewer = C - kPerPanel;
  if constexpr (kFewer > 0) {
    if ((panel_end - panel) * kPerPanel == kFewer) {
      Block<Lanes, kFewer>(weights, prepared, given, output, row, row_end,
                           panel);
    } else {
      LastPanels<Lanes, kFewer>(weights, prepared, given, output, row, row_end,
                                panel, panel_end);
    }
  }
}

template <class Lanes>
void Product(const IntegerWeights* weights, const void* prepared,
             const IntegerRows* given, const IntegerOutput* output, int64_t row,
             int64_t row_end, int64_t panel, int64_t panel_end) {
  constexpr int kPerPanel = static_cast<int>(kIntegerPanel) / Lanes::kUnits;
  constexpr int64_t kMany = Lanes::kVectors / kPerPanel;
  for (; panel + kMany <= panel_end; panel += kMany) {
    Block<Lanes, Lanes::kVectors>(*weights, prepared, *given, *output, row,
                                  row_end, panel);
  }
  LastPanels<Lanes, Lanes::kVectors>(*weights, prepared, *given, *output, row,
                                     row_end, panel, panel_end);
}

// For levels whose rows are of 16-bit integers.
template <class Lanes>
struct Rows16 {
  using Row = int16_t;
  template <int C>
  static void Add32(const IntegerWeights& weights, const void* prepared,
                    const IntegerRows&, int64_t row, int64_t count,
                    int64_t panel, int32_t* sums) {
    const int64_t width = PaddedInputs(weights.inputs);
    const int16_t* rows = static_cast<const int16_t*>(prepared) + row * width;
    RowsOf<Lanes, C>(weights, panel, rows, width, count, sums);
  }
  static void Correct(const IntegerWeights& weights, const IntegerRows&,
                      int64_t unit, int64_t units, int32_t* sums) {
    for (int64_t i = 0; i < units; ++i) sums[i] += weights.bias[unit + i];
  }
};
