// What makes a SIMD level of the products: which rows go together, and how.
//
// Included last of the sparse_*.h, which say how. A level has `kTiles`, from
// few rows to many, the last index of them that panels gain from, `kPanelTile`,
// and functions for a row or a few of them.

using Product = void (*)(const SparseWeights& weights, const float* panel,
                         int64_t rows, float* outputs);

// Rows that are worked on together, from a panel of so many rows.
struct TileKind {
  int64_t rows;
  void (*pack_matrix)(const MatrixRows& source, int64_t row, int64_t count,
                      float* panel);
  void (*pack_patches)(const Patches& source, int64_t row, int64_t count,
                       float* panel);
  Product columns2;  // of indices of two bytes
  Product columns4;
  Product panels;
  Product blocks;

  void Pack(const MatrixRows& source, int64_t row, int64_t count,
            float* panel) const {
    pack_matrix(source, row, count, panel);
  }
  void Pack(const Patches& source, int64_t row, int64_t count,
            float* panel) const {
    pack_patches(source, row, count, panel);
  }
};

template <class V, int kVectors, class Rows>
void PackTile(const Rows& source, int64_t row, int64_t count, float* panel) {
  source.template Pack<V, kVectors>(row, count, panel);
}

template <class V, int kVectors, int kColumns, int kPanelColumns>
constexpr TileKind MakeTile() {
  return {kVectors * V::kLanes,
          PackTile<V, kVectors, MatrixRows>,
          PackTile<V, kVectors, Patches>,
          ColumnProduct<V, kVectors, kColumns, uint16_t>,
          ColumnProduct<V, kVectors, kColumns, int32_t>,
          PanelProduct<V, kVectors, kPanelColumns>,
          BlockProduct<V, kVectors>};
}

// More of a panel than this does not stay in the second-level cache beside the
// weights that stream past.
constexpr int64_t kPanelFloats = 208 * 1024;

// The tile for so many rows: the smallest with room for them, or the largest
// that the caches have room for.
template <class Level>
const TileKind& TileFor(const SparseWeights& weights, int64_t rows) {
  int i = 0;
  int last = Level::kTileCount - 1;
  if (weights.layout == kSparsePanels) last = Level::kPanelTile;
  // Blocks read one part of the panel after the other, which is foreseen.
  const int64_t room =
      weights.layout == kSparseBlocks ? 256 * 1024 : kPanelFloats;
  while (i < last && Level::kTiles[i].rows < rows &&
         Level::kTiles[i + 1].rows * weights.inputs <= room) {
    ++i;
  }
  return Level::kTiles[i];
}

inline Product ProductOf(const TileKind& tile, const SparseWeights& weights) {
  if (weights.layout == kSparsePanels) return tile.panels;
  if (weights.layout == kSparseBlocks) return tile.blocks;
  return weights.index_bytes == 2 ? tile.columns2 : tile.columns4;
}

// The rows that are worked on without a panel, and their number.
template <class Level, class Rows>
int64_t FewRows(const SparseWeights& weights, const Rows& source, int64_t row,
                int64_t left, float* outputs, float* scratch) {
  if (weights.layout == kSparseLanes) {
    float* patch = scratch + Level::TableFloats(weights.inputs);
    Level::MakeTable(source.One(row, patch), weights.inputs, scratch);
    Level::Lanes(weights, scratch, outputs);
    return 1;
  }
  if (weights.layout == kSparsePanels && left <= Level::kFewRows) {
    const float* lines[Level::kFewRows];
    for (int64_t i = 0; i < Level::kFewRows; ++i) {
      lines[i] = i < left ? source.One(row + i, scratch + i * weights.inputs)
                          : lines[0];
    }
    Level::FewPanels(weights, lines, left, outputs);
    return left;
  }
  if (left > 1 || weights.layout == kSparsePanels) return 0;
  const float* line = source.One(row, scratch);
  if (weights.layout == kSparseBlocks) {
    BlockProduct<OneLane, 1>(weights, line, 1, outputs);
  } else if (weights.index_bytes == 2) {
    ColumnProduct<OneLane, 1, 4, uint16_t>(weights, line, 1, outputs);
  } else {
    ColumnProduct<OneLane, 1, 4, int32_t>(weights, line, 1, outputs);
  }
  return 1;
}

template <class Level, class Rows>
void AllRows(const SparseWeights& weights, const Rows& source, int64_t rows,
             float* outputs, float* scratch) {
  for (int64_t row = 0; row < rows;) {
    float* to = outputs + row * weights.units;
    int64_t count =
        FewRows<Level>(weights, source, row, rows - row, to, scratch);
    if (count == 0) {
      const TileKind& tile = TileFor<Level>(weights, rows - row);
      count = rows - row < tile.rows ? rows - row : tile.rows;
      tile.Pack(source, row, count, scratch);
      ProductOf(tile, weights)(weights, scratch, count, to);
    }
    row += count;
  }
}

template <class Level>
int64_t Scratch(const SparseWeights* weights, int64_t rows) {
  const int64_t tile = TileFor<Level>(*weights, rows).rows;
  const int64_t most = tile > Level::kFewRows ? tile : Level::kFewRows;
  const int64_t panel = weights->inputs * most;
  const int64_t table = Level::TableFloats(weights->inputs) + weights->inputs;
  return weights->layout == kSparseLanes ? table : panel;
}

template <class Level>
void Matmul(const SparseWeights* weights, const float* inputs, int64_t rows,
            float* outputs, float* scratch) {
  AllRows<Level>(*weights, MatrixRows{inputs, weights->inputs}, rows, outputs,
                 scratch);
}

template <class Level>
void Conv2d(const SparseWeights* weights, const ConvGeometry* geometry,
            const float* inputs, float* outputs, float* scratch) {
  const int64_t rows =
      geometry->batch * geometry->out_height * geometry->out_width;
  AllRows<Level>(*weights, Patches{*geometry, inputs}, rows, outputs, scratch);
}
