// The product of packed signs by tables, for levels that cannot count words.
//
// Where two rows differ from a unit in 4 inputs is looked up at once: the 8
// bits of both rows choose one of 256 tables, the unit's 4 bits one of its 16
// bytes, which holds the count of the first row and 16 times that of the
// second. That is one lookup for two rows where xnor_lanes.h takes two for one.
//
// 64 units stand in the bytes of a vector, or of two: byte 4 * lane + panel is
// unit lane of that panel, so that the counts of a panel are a byte of every
// 32-bit lane again. So that the weights of 64 units, as bytes of one nibble,
// stay in the first cache, rows and words go in blocks.
//
// Included by xnor_lanes.h. A level gives beside what is listed there
//
//   kPairs                   pairs of rows at a time
//   Table(from)              16 bytes, in every 128 bits
//   Look(table, nibbles)     a lookup for each byte
//   Nibbles(x, high)         the low or high 4 bits of each byte
//   WithoutHigh(sum, high)   sum - 16 * high, bytes
//   Shorts(x, odd)           even or odd bytes as uint16; PlusShorts
//   Halves(x, high)          low or high 16 bits of each lane as int32
//   Zip8, Zip16, Zip32, Zip64(a, b, high)   interleaves halves of 128 bits

constexpr int64_t kTablePanels = 4;
// What fits into a byte: 4 * 8 * 7 counts. A block is whole such steps.
constexpr int64_t kByteWords = 7;
constexpr int64_t kBlockWords = 4 * kByteWords;
constexpr int64_t kBlockRows = 64;
// What fits into 16 bits.
constexpr int64_t kMostTableWords = 2000;
// From so many rows on, preparing the weights pays.
constexpr int64_t kFewestTableRows = 8;

struct CountTables {
  alignas(64) uint8_t counts[256][16];
  constexpr CountTables() : counts() {
    for (int rows = 0; rows < 256; ++rows) {
      for (int unit = 0; unit < 16; ++unit) {
        int count = 0;
        for (int bit = 0; bit < 4; ++bit) {
          count += (rows >> bit ^ unit >> bit) & 1;
          count += ((rows >> (4 + bit) ^ unit >> bit) & 1) * 16;
        }
        counts[rows][unit] = static_cast<uint8_t>(count);
      }
    }
  }
};
constexpr CountTables kCountTables;

// A block of the weights of 64 units: 8 x 64 nibbles for each word.
template <class Lanes>
inline void SpreadWeights(const XnorWeights& weights, int64_t panel,
                          int64_t word, int64_t count, uint8_t* to) {
  using Vec = typename Lanes::Vec;
  const int64_t stride = weights.stride * kPanelUnits;
  const uint32_t* signs = weights.signs + panel * stride + word * kPanelUnits;
  for (int64_t k = 0; k < count; ++k, signs += kPanelUnits, to += 8 * 64) {
    for (int64_t lane = 0; lane < kPanelUnits; lane += Lanes::kLanes) {
      Vec x[4];
      for (int p = 0; p < 4; ++p) x[p] = Lanes::Load(signs + p * stride + lane);
      // Bytes of 4 panels side by side, then byte 0 of all lanes, byte 1, ...
      const Vec ab[2] = {Lanes::Zip8(x[0], x[1], false),
                         Lanes::Zip8(x[0], x[1], true)};
      const Vec cd[2] = {Lanes::Zip8(x[2], x[3], false),
                         Lanes::Zip8(x[2], x[3], true)};
      Vec y[4];
      for (int i = 0; i < 4; ++i) {
        y[i] = Lanes::Zip16(ab[i / 2], cd[i / 2], i % 2 == 1);
      }
      for (int i = 0; i < 4; ++i) {
        const bool high = i / 2 == 1;
        const Vec byte =
            Lanes::Zip64(Lanes::Zip32(y[0], y[1], high),
                         Lanes::Zip32(y[2], y[3], high), i % 2 == 1);
        Lanes::StoreBytes(to + i * 64 + lane * 4, Lanes::Nibbles(byte, false));
        Lanes::StoreBytes(to + (4 + i) * 64 + lane * 4,
                          Lanes::Nibbles(byte, true));
      }
    }
  }
}

// Words [word, word + count) of a row one after another.
template <class Rows>
inline const uint32_t* RowWords(const XnorWeights& weights, const Rows& rows,
                                int64_t m, int64_t word, int64_t count,
                                uint32_t* room) {
  if constexpr (Rows::kWhole) return rows.Row(m) + word;
  int64_t s = word / weights.words;
  int64_t k = word % weights.words;
  const uint32_t* part = rows.Row(m) + rows.Offset(s);
  for (int64_t i = 0; i < count; ++i) {
    room[i] = part[k];
    if (++k == weights.words && i + 1 < count) {
      k = 0;
      part = rows.Row(m) + rows.Offset(++s);
    }
  }
  return room;
}

// The counts of kGroups <= 3 groups of 4 inputs, each up to 4, in 4 bits a row.
template <class Lanes, int kGroups, int C>
KC_INLINE void LookUp(const uint8_t* index, const uint8_t* nibbles,
                      typename Lanes::Vec (&x)[C]) {
#pragma GCC unroll 3
  for (int g = 0; g < kGroups; ++g) {
    const auto table = Lanes::Table(kCountTables.counts[index[g]]);
#pragma GCC unroll 2
    for (int c = 0; c < C; ++c) {
      const auto found =
          Lanes::Look(table, Lanes::LoadBytes(nibbles + g * 64 + c * 64 / C));
      x[c] = g == 0 ? found : Lanes::Plus(x[c], found);
    }
  }
}

// Adds up a block for kPairs pairs of rows: `sums` are 2 x 32 uint16 for each
// row, of even and of odd bytes.
template <class Lanes>
inline void AddBlock(const uint8_t* nibbles,
                     const uint8_t (*tables)[kBlockWords * 8], int64_t count,
                     uint16_t* sums) {
  using Vec = typename Lanes::Vec;
  constexpr int P = Lanes::kPairs;
  constexpr int C = static_cast<int>(kPanelUnits / Lanes::kLanes);
  constexpr int kBytes = 64 / C;
  for (int64_t k = 0; k < count;) {
    const int64_t end = k + kByteWords < count ? k + kByteWords : count;
    Vec both[P][C];
    Vec second[P][C];
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) {
#pragma GCC unroll 2
      for (int c = 0; c < C; ++c) both[p][c] = second[p][c] = Lanes::Zero();
    }
    for (; k < end; ++k) {
      const uint8_t* from = nibbles + k * 8 * 64;
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p) {
        const uint8_t* index = tables[p] + k * 8;
        Vec x[3][C];
        LookUp<Lanes, 3>(index, from, x[0]);
        LookUp<Lanes, 3>(index + 3, from + 3 * 64, x[1]);
        LookUp<Lanes, 2>(index + 6, from + 6 * 64, x[2]);
#pragma GCC unroll 3
        for (int i = 0; i < 3; ++i) {
#pragma GCC unroll 2
          for (int c = 0; c < C; ++c) {
            both[p][c] = Lanes::Plus(both[p][c], x[i][c]);
            second[p][c] =
                Lanes::Plus(second[p][c], Lanes::Nibbles(x[i][c], true));
          }
        }
      }
    }
    for (int p = 0; p < P; ++p) {
      for (int c = 0; c < C; ++c) {
        const Vec rows[2] = {Lanes::WithoutHigh(both[p][c], second[p][c]),
                             second[p][c]};
        for (int r = 0; r < 2; ++r) {
          for (int odd = 0; odd < 2; ++odd) {
            uint16_t* to = sums + ((2 * p + r) * 2 + odd) * 32 + c * kBytes / 2;
            Lanes::StoreBytes(
                to, Lanes::PlusShorts(Lanes::LoadBytes(to),
                                      Lanes::Shorts(rows[r], odd == 1)));
          }
        }
      }
    }
  }
}

// Up to kBlockRows rows by 4 panels of whole units without masks.
template <class Lanes, int kKind, class Rows>
inline void TableBlock(const XnorWeights& weights, const Rows& rows,
                       const XnorOutput& output, int64_t m, int64_t row_end,
                       int64_t panel) {
  using Vec = typename Lanes::Vec;
  constexpr int kTile = 2 * Lanes::kPairs;
  constexpr int C = static_cast<int>(kPanelUnits / Lanes::kLanes);
  alignas(64) uint8_t nibbles[kBlockWords * 8 * 64];
  alignas(64) uint16_t sums[kBlockRows * 64];
  uint8_t tables[Lanes::kPairs][kBlockWords * 8];
  uint32_t room[2][kBlockWords];
  const int64_t words = weights.segments * weights.words;
  memset(sums, 0, sizeof(sums));
  for (int64_t word = 0; word < words; word += kBlockWords) {
    const int64_t left = words - word;
    const int64_t count = left < kBlockWords ? left : kBlockWords;
    SpreadWeights<Lanes>(weights, panel, word, count, nibbles);
    for (int64_t r = m; r < row_end; r += kTile) {
      for (int p = 0; p < Lanes::kPairs; ++p) {
        const uint32_t* pair[2];
        for (int i = 0; i < 2; ++i) {
          const int64_t row = r + 2 * p + i;  // behind the last, that again
          pair[i] = RowWords(weights, rows, row < row_end ? row : row_end - 1,
                             word, count, room[i]);
        }
        for (int64_t k = 0; k < count; ++k) {
          const uint32_t a = pair[0][k];
          const uint32_t b = pair[1][k];
          const uint32_t low = (a & 0x0f0f0f0fu) | (b & 0x0f0f0f0fu) << 4;
          const uint32_t high = (a >> 4 & 0x0f0f0f0fu) | (b & 0xf0f0f0f0u);
          memcpy(tables[p] + k * 8, &low, 4);
          memcpy(tables[p] + k * 8 + 4, &high, 4);
        }
      }
      AddBlock<Lanes>(nibbles, tables, count, sums + (r - m) * 64);
    }
  }
  for (int64_t r = m; r < row_end; ++r) {
    Vec total[1][kTablePanels * C];
    const uint16_t* from = sums + (r - m) * 64;
    for (int p = 0; p < kTablePanels; ++p) {
      for (int c = 0; c < C; ++c) {
        total[0][p * C + c] = Lanes::Halves(
            Lanes::LoadBytes(from + p % 2 * 32 + c * 32 / C), p / 2 == 1);
      }
    }
    Finish<Lanes, kKind, 1, kTablePanels * C>(weights, rows, output, r, panel,
                                              total);
  }
}

// Whether 4 panels are whole, and worth it for so many rows.
inline bool TablesPay(const XnorWeights& weights, int64_t rows, int64_t panel) {
  return rows >= kFewestTableRows &&
         weights.segments * weights.words <= kMostTableWords &&
         (panel + kTablePanels) * kPanelUnits <= weights.units;
}

template <class Lanes, int kKind, class Rows>
void TablePanels(const XnorWeights& weights, const Rows& rows,
                 const XnorOutput& output, int64_t row, int64_t row_end,
                 int64_t panel) {
  for (int64_t m = row; m < row_end; m += kBlockRows) {
    const int64_t end = m + kBlockRows < row_end ? m + kBlockRows : row_end;
    TableBlock<Lanes, kKind>(weights, rows, output, m, end, panel);
  }
}
