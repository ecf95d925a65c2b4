// The integer product, units in lanes, for any width of vector.
//
// Included inside an anonymous namespace by each level, after
// integer_finish.h. A level gives
//
//   Lanes::Sums, kUnits      what adds up for kUnits (4, 8 or 16) units
//   kInputs                  inputs of a step: 4, or 2 of weights of 16 bits
//   Lanes::Input, Row        so many of one row for all lanes; a row's numbers
//   kVectors, kRows          the tile: vectors of units, and rows
//   Zero, Broadcast(row + k) zeros, and kInputs inputs from the k-th on
//   Weights(bytes)           the weights of a step, as Multiply takes them
//   Low(bytes), High(bytes)  the same of two times 4 inputs, of 4 bits each
//   Multiply(sums, input, weights)
//   Store(sums, to, small)   kUnits sums; `small` where weights have 4 bits

// What a step is: all weights of some inputs; of twice as many, in halves of
// bytes; or of those inputs that an index says.
enum StepKind { kWhole, kHalves, kIndexed };

// Adds R rows by C vectors into registers, then stores them to `to`.
template <class Lanes, int R, int C, StepKind kKind>
inline void Tile(const IntegerSteps& panel, int64_t stride,
                 const typename Lanes::Row* rows, int64_t width, int32_t* to,
                 int64_t to_stride) {
  constexpr bool kSmall = kKind == kHalves;
  const int8_t* panels = panel.bytes;
  typename Lanes::Sums sums[R][C];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) sums[r][c] = Lanes::Zero();
  }
  constexpr int kPerPanel = static_cast<int>(kIntegerPanel) / Lanes::kUnits;
  constexpr int64_t kBytes = kIntegerPanel * 4;
  for (int64_t s = 0; s < panel.count; ++s, panels += kBytes) {
    const int64_t step = kKind == kIndexed ? panel.indices[s] : s;
    if (kKind == kWhole) __builtin_prefetch(panel.next + s * kBytes, 0, 2);
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
            rows + r * width +
            (kSmall ? 8 * step + 4 * half : Lanes::kInputs * step));
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

// R rows, few, by one panel, in turns that need not wait for each other: memory
// is read in the order in which it lies.
template <class Lanes, int R, StepKind kKind>
inline void RowsAlone(const IntegerSteps& panel,
                      const typename Lanes::Row* rows, int64_t width,
                      int32_t* to, int64_t to_stride) {
  constexpr bool kSmall = kKind == kHalves;
  constexpr int kPerPanel = static_cast<int>(kIntegerPanel) / Lanes::kUnits;
  constexpr int kTurns = 4;
  constexpr int64_t kBytes = kIntegerPanel * 4;
  typename Lanes::Sums sums[kTurns][R][kPerPanel];
#pragma GCC unroll 4
  for (int t = 0; t < kTurns; ++t) {
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int c = 0; c < kPerPanel; ++c) sums[t][r][c] = Lanes::Zero();
    }
  }
  const auto step = [&](int64_t s, int t) {
    const int64_t at = kKind == kIndexed ? panel.indices[s] : s;
#pragma GCC unroll 4
    for (int c = 0; c < kPerPanel; ++c) {
      const int8_t* from = panel.bytes + s * kBytes + c * Lanes::kUnits * 4;
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        const typename Lanes::Row* row = rows + r * width;
        typename Lanes::Sums& sum = sums[t][r][c];
        if (kSmall) {
          sum = Lanes::Multiply(sum, Lanes::Broadcast(row + 8 * at),
                                Lanes::Low(from));
          sum = Lanes::Multiply(sum, Lanes::Broadcast(row + 8 * at + 4),
                                Lanes::High(from));
        } else {
          sum =
              Lanes::Multiply(sum, Lanes::Broadcast(row + Lanes::kInputs * at),
                              Lanes::Weights(from));
        }
      }
    }
  };
  int64_t s = 0;
  for (; s + kTurns <= panel.count; s += kTurns) {
    // Ahead of the memory by some lines, past the end of the panel, too.
    __builtin_prefetch(panel.bytes + s * kBytes + 4096);
    __builtin_prefetch(panel.bytes + s * kBytes + 4096 + 128);
#pragma GCC unroll 4
    for (int t = 0; t < kTurns; ++t) step(s + t, t);
  }
  for (; s < panel.count; ++s) step(s, 0);
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < kPerPanel; ++c) {
      const auto both = Lanes::Add(Lanes::Add(sums[0][r][c], sums[1][r][c]),
                                   Lanes::Add(sums[2][r][c], sums[3][r][c]));
      Lanes::Store(both, to + r * to_stride + c * Lanes::kUnits, kSmall);
    }
  }
}

// Sums of `count` rows, R at most, by C vectors, without bias.
template <class Lanes, int R, int C, StepKind kKind>
inline void Rows(const IntegerSteps& panel, int64_t stride,
                 const typename Lanes::Row* rows, int64_t width, int64_t count,
                 int32_t* to) {
  constexpr int kPerPanel = static_cast<int>(kIntegerPanel) / Lanes::kUnits;
  constexpr int64_t kStride = C * Lanes::kUnits;
  if constexpr (R <= Lanes::kAlone) {
    if (count == R) {
      for (int p = 0; p < C / kPerPanel; ++p) {
        IntegerSteps one = panel;
        one.bytes += p * stride;
        RowsAlone<Lanes, R, kKind>(one, rows, width, to + p * kIntegerPanel,
                                   kStride);
      }
      return;
    }
  } else if (count == R) {
    Tile<Lanes, R, C, kKind>(panel, stride, rows, width, to, kStride);
    return;
  }
  if constexpr (R > 1) {
    Rows<Lanes, R - 1, C, kKind>(panel, stride, rows, width, count, to);
  }
}

// `turn`: how many tiles of these panels were there before. The first ones
// bring the panels behind near, one each.
template <class Lanes, int C>
inline void RowsOf(const IntegerWeights& weights, int64_t panel, int64_t turn,
                   const typename Lanes::Row* rows, int64_t width,
                   int64_t count, int32_t* to) {
  constexpr int R = Lanes::kRows;
  constexpr int64_t kPanels = C * Lanes::kUnits / kIntegerPanel;
  IntegerSteps steps = StepsOf(weights, panel);
  const int64_t stride = steps.count * kIntegerPanel * 4;
  if (turn < kPanels) steps.next = steps.bytes + (kPanels + turn) * stride;
  if constexpr (Lanes::kInputs == 4) {
    if (weights.bits == 4) {
      Rows<Lanes, R, C, kHalves>(steps, stride, rows, width, count, to);
      return;
    }
    if constexpr (C * Lanes::kUnits == kIntegerPanel) {
      if (steps.indices != nullptr) {
        Rows<Lanes, R, C, kIndexed>(steps, stride, rows, width, count, to);
        return;
      }
    }
  }
  Rows<Lanes, R, C, kWhole>(steps, stride, rows, width, count, to);
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
    Lanes::template FinishRows<C>(weights, given, output, row, count, unit,
                                  units, sums);
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
  if (weights->starts != nullptr) {
    // Each panel has inputs of its own.
    for (; panel < panel_end; ++panel) {
      Block<Lanes, kPerPanel>(*weights, prepared, *given, *output, row, row_end,
                              panel);
    }
    return;
  }
  for (; panel + kMany <= panel_end; panel += kMany) {
    Block<Lanes, Lanes::kVectors>(*weights, prepared, *given, *output, row,
                                  row_end, panel);
  }
  LastPanels<Lanes, Lanes::kVectors>(*weights, prepared, *given, *output, row,
                                     row_end, panel, panel_end);
}

// For levels whose rows are numbers one after the other, each with
// Lanes::Middle(rows) added.
template <class Lanes, class Number>
struct PlainRows {
  using Row = Number;
  template <int C>
  static void Add32(const IntegerWeights& weights, const void* prepared,
                    const IntegerRows&, int64_t row, int64_t count,
                    int64_t panel, int32_t* sums) {
    const int64_t width = PaddedInputs(weights.inputs);
    const Number* rows = static_cast<const Number*>(prepared) + row * width;
    RowsOf<Lanes, C>(weights, panel, row / Lanes::kRows, rows, width, count,
                     sums);
  }
  template <int C>
  static void FinishRows(const IntegerWeights& weights,
                         const IntegerRows& given, const IntegerOutput& output,
                         int64_t row, int64_t count, int64_t unit,
                         int64_t units, int32_t* sums) {
    const uint32_t middle = Lanes::Middle(given);
    for (int64_t r = 0; r < count; ++r, sums += C * Lanes::kUnits) {
      for (int64_t i = 0; i < units; ++i) {
        // Sums come back where they leave 32 bits on the way.
        sums[i] = static_cast<int32_t>(
            static_cast<uint32_t>(sums[i]) +
            static_cast<uint32_t>(weights.bias[unit + i]) -
            middle * static_cast<uint32_t>(weights.column_sums[unit + i]));
      }
      Finish(output, weights.units, row + r, unit, units, sums);
    }
  }
};

template <class Lanes>
struct Rows16 : PlainRows<Lanes, int16_t> {
  static uint32_t Middle(const IntegerRows&) { return 0; }
};
