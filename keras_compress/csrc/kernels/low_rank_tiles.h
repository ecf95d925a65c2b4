// Tiles of rows by columns whose sums stay in registers.
//
// Included inside an anonymous namespace, after the lanes of a level. A level
// `V` has lanes as in x86_lanes.h, and `Relu`. Nothing is asked for ahead: with
// that a single row gained nothing, from no cache.

// Inputs that are worked on before the next panel: what a tile reads of a panel
// meanwhile, 128 KB, stays in the second-level cache for the next rows.
constexpr int64_t kBlockInputs = 512;

// Sums of kRows rows and kVectors vectors of columns, from `column` on, over
// inputs [k, k_end), which go on from what is in y if k > 0. With kPart the
// last vector has `part` columns only.
template <class V, int kRows, int kVectors, bool kPart>
void Tile(const PanelProduct& p, const float* weights, int64_t width,
          int64_t row, int64_t column, int64_t part, int64_t k, int64_t k_end) {
  const auto load = [part](const float* from, int j) {
    return kPart && j + 1 == kVectors ? V::LoadPart(from + j * V::kLanes, part)
                                      : V::Load(from + j * V::kLanes);
  };
  typename V::Type acc[kRows][kVectors];
  const float* x = p.x + row * p.x_stride;
  float* y = p.y + row * p.y_stride + column;
#pragma GCC unroll 12
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; ++j) {
      acc[i][j] = k == 0 ? V::Zero() : load(y + i * p.y_stride, j);
    }
  }
  const float* weight = weights + k * width;
  for (int64_t l = k; l < k_end; ++l, weight += width) {
    typename V::Type w[kVectors];
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; ++j) w[j] = load(weight, j);
#pragma GCC unroll 12
    for (int i = 0; i < kRows; ++i) {
      const typename V::Type one = V::Broadcast(x + i * p.x_stride + l);
#pragma GCC unroll 16
      for (int j = 0; j < kVectors; ++j) {
        acc[i][j] = V::Fma(one, w[j], acc[i][j]);
      }
    }
  }
  const bool last = k_end == p.inputs;
#pragma GCC unroll 12
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; ++j) {
      typename V::Type value = acc[i][j];
      if (last && p.bias != nullptr) {
        value = V::Add(value, load(p.bias + column, j));
      }
      if (last && p.relu) value = V::Relu(value);
      float* to = y + i * p.y_stride + j * V::kLanes;
      if (kPart && j + 1 == kVectors) {
        V::StorePart(to, value, part);
      } else {
        V::Store(to, value);
      }
    }
  }
}

// Columns of a panel, and the inputs to sum up.
struct Columns {
  const float* weights;
  int64_t width;  // of the panel
  int64_t column;
  int64_t part;
  int64_t k, k_end;
};

// The tile for as many rows as there are, up to kRows.
template <class V, int kRows, int kVectors, bool kPart>
void TileOf(const PanelProduct& p, const Columns& c, int64_t row,
            int64_t rows) {
  if constexpr (kRows > 1) {
    if (rows < kRows) {
      TileOf<V, kRows - 1, kVectors, kPart>(p, c, row, rows);
      return;
    }
  }
  Tile<V, kRows, kVectors, kPart>(p, c.weights, c.width, row, c.column, c.part,
                                  c.k, c.k_end);
}

// All rows, in tiles that differ by one row at most.
template <class V, int kRows, int kVectors, bool kPart>
void Tiles(const PanelProduct& p, const Columns& c, int64_t row,
           int64_t row_end) {
  for (int64_t tiles = (row_end - row + kRows - 1) / kRows; tiles > 0;
       --tiles) {
    const int64_t rows = (row_end - row + tiles - 1) / tiles;
    TileOf<V, kRows, kVectors, kPart>(p, c, row, rows);
    row += rows;
  }
}

// A level has kRows, of its tiles, and `Panel`, which does a panel.
template <class Level>
void Product(const PanelProduct* product, int64_t row, int64_t row_end,
             int64_t panel, int64_t panel_end) {
  const PanelProduct& p = *product;
  // Few rows read all weights once anyway, best from the first to the last.
  const int64_t block = row_end - row <= Level::kRows ? p.inputs : kBlockInputs;
  int64_t k = 0;
  do {
    const int64_t k_end = p.inputs - k < block ? p.inputs : k + block;
    for (int64_t i = panel; i < panel_end; ++i) {
      const int64_t column = i * kPanelColumns;
      const Columns c = {p.panels + column * p.inputs,
                         PanelWidth(p.units, i),
                         column,
                         0,
                         k,
                         k_end};
      Level::Panel(p, c, row, row_end);
    }
    k = k_end;
  } while (k < p.inputs);
}

// A panel by kWide vectors at a time, what is left one by one.
template <class V, int kRows, int kWide>
void Narrow(const PanelProduct& p, Columns c, int64_t row, int64_t row_end) {
  const int64_t width = c.width;
  const auto go = [&c](int64_t columns) {
    c.weights += columns;
    c.column += columns;
  };
  int64_t at = 0;
  for (; at + kWide * V::kLanes <= width; at += kWide * V::kLanes) {
    Tiles<V, kRows, kWide, false>(p, c, row, row_end);
    go(kWide * V::kLanes);
  }
  for (; at + V::kLanes <= width; at += V::kLanes) {
    Tiles<V, kRows, 1, false>(p, c, row, row_end);
    go(V::kLanes);
  }
  c.part = width - at;
  if (c.part > 0) Tiles<V, kRows, 1, true>(p, c, row, row_end);
}
