// The sparse product with rows in lanes, once for every SIMD level.
//
// A tile of rows is first transposed into a panel [inputs][rows of the tile].
// A kept weight then is one broadcast, and one load and one fma for each vector
// of rows. Several columns take turns, so that enough independent chains run to
// hide the latency of fma; one column's own chain stays in order. Sums go
// through a small block [columns][rows] and a second transpose to the outputs.
//
// A file that includes this does so inside an anonymous namespace, since its
// own flags hold for what is in here, and gives vector types `V` with: `Type`,
// `kLanes`, `Zero`, `Load`, `LoadPart` (the first `count`, zeros after them, no
// access past them), `Store`, `StorePart`, `Broadcast`, `Fma`, `Add`,
// `Transpose` (of kLanes vectors).

// More of a panel than this does not stay in the second-level cache beside the
// weights that stream past.
constexpr int64_t kPanelFloats = 160 * 1024;

// A single row as a vector of one lane, for the smallest batch.
struct OneLane {
  using Type = float;
  static constexpr int kLanes = 1;
  static Type Zero() { return 0.0f; }
  static Type Load(const float* from) { return *from; }
  static void Store(float* to, Type value) { *to = value; }
  static Type Broadcast(const float* from) { return *from; }
  static Type Fma(Type a, Type b, Type c) { return __builtin_fmaf(a, b, c); }
  static Type Add(Type a, Type b) { return a + b; }
};

// Sums of kColumns neighbouring columns, from n on, into block[column][row].
template <class V, int kVectors, int kColumns, class Index>
inline void Columns(const SparseWeights& weights, const float* panel, int64_t n,
                    float* block) {
  constexpr int kRows = kVectors * V::kLanes;
  const int32_t* starts = weights.starts + n;
  typename V::Type acc[kColumns][kVectors];
  const float* values[kColumns];
  const Index* indices[kColumns];
  int64_t left[kColumns];
  int64_t common = INT64_MAX;
  for (int c = 0; c < kColumns; ++c) {
    values[c] = weights.values + starts[c];
    indices[c] = static_cast<const Index*>(weights.indices) + starts[c];
    left[c] = static_cast<int64_t>(starts[c + 1]) - starts[c];
    common = left[c] < common ? left[c] : common;
    for (int v = 0; v < kVectors; ++v) acc[c][v] = V::Zero();
  }
  for (int64_t p = 0; p < common; ++p) {
    for (int c = 0; c < kColumns; ++c) {
      const float* row = panel + static_cast<int64_t>(indices[c][p]) * kRows;
      const typename V::Type weight = V::Broadcast(values[c] + p);
      for (int v = 0; v < kVectors; ++v) {
        acc[c][v] = V::Fma(V::Load(row + v * V::kLanes), weight, acc[c][v]);
      }
    }
  }
  for (int c = 0; c < kColumns; ++c) {
    for (int64_t p = common; p < left[c]; ++p) {
      const float* row = panel + static_cast<int64_t>(indices[c][p]) * kRows;
      const typename V::Type weight = V::Broadcast(values[c] + p);
      for (int v = 0; v < kVectors; ++v) {
        acc[c][v] = V::Fma(V::Load(row + v * V::kLanes), weight, acc[c][v]);
      }
    }
    const typename V::Type bias = V::Broadcast(weights.bias + n + c);
    for (int v = 0; v < kVectors; ++v) {
      V::Store(block + c * kRows + v * V::kLanes, V::Add(acc[c][v], bias));
    }
  }
}

// Columns n to n + count into block[column][row].
template <class V, int kVectors, int kColumns, class Index>
inline void Block(const SparseWeights& weights, const float* panel, int64_t n,
                  int64_t count, float* block) {
  constexpr int kRows = kVectors * V::kLanes;
  int64_t c = 0;
  for (; c + kColumns <= count; c += kColumns) {
    Columns<V, kVectors, kColumns, Index>(weights, panel, n + c,
                                          block + c * kRows);
  }
  for (; c < count; ++c) {
    Columns<V, kVectors, 1, Index>(weights, panel, n + c, block + c * kRows);
  }
}

// block[column][row] into outputs[row][column], of which `rows` and `count` are
// there.
template <class V, int kVectors>
inline void StoreBlock(const float* block, int64_t rows, int64_t count,
                       int64_t stride, float* outputs) {
  constexpr int kRows = kVectors * V::kLanes;
  for (int v = 0; v < kVectors; ++v) {
    typename V::Type lines[V::kLanes];
    for (int i = 0; i < V::kLanes; ++i) {
      lines[i] = V::Load(block + i * kRows + v * V::kLanes);
    }
    V::Transpose(lines);
    for (int i = 0; i < V::kLanes; ++i) {
      const int64_t row = v * V::kLanes + i;
      if (row >= rows) return;
      if (count == V::kLanes) {
        V::Store(outputs + row * stride, lines[i]);
      } else {
        V::StorePart(outputs + row * stride, lines[i], count);
      }
    }
  }
}

// lines[row][k] into panel[k][row], for `length` inputs of each row; a row that
// is null is zeros.
template <class V, int kVectors>
inline void PackLines(const float* const* lines, int64_t length, float* panel) {
  constexpr int kRows = kVectors * V::kLanes;
  if (length * 4 <= V::kLanes) {  // too short for a transpose to pay
    for (int64_t k = 0; k < length; ++k) {
      for (int row = 0; row < kRows; ++row) {
        panel[k * kRows + row] = lines[row] ? lines[row][k] : 0.0f;
      }
    }
    return;
  }
  for (int v = 0; v < kVectors; ++v) {
    for (int64_t k = 0; k < length; k += V::kLanes) {
      const int64_t left = length - k;
      typename V::Type square[V::kLanes];
      for (int i = 0; i < V::kLanes; ++i) {
        const float* line = lines[v * V::kLanes + i];
        square[i] = !line               ? V::Zero()
                    : left >= V::kLanes ? V::Load(line + k)
                                        : V::LoadPart(line + k, left);
      }
      V::Transpose(square);
      for (int i = 0; i < V::kLanes && i < left; ++i) {
        V::Store(panel + (k + i) * kRows + v * V::kLanes, square[i]);
      }
    }
  }
}

// The rows of a matrix.
struct MatrixRows {
  const float* inputs;
  int64_t length;

  template <class V, int kVectors>
  void Pack(int64_t row, int64_t count, float* panel) const {
    const float* lines[kVectors * V::kLanes];
    for (int i = 0; i < kVectors * V::kLanes; ++i) {
      lines[i] = i < count ? inputs + (row + i) * length : nullptr;
    }
    PackLines<V, kVectors>(lines, length, panel);
  }

  const float* One(int64_t row, float*) const { return inputs + row * length; }
};

// The patches of a convolution.
struct Patches {
  const ConvGeometry& g;
  const float* inputs;

  // Where the patch of one output pixel begins; it may begin outside.
  struct Corner {
    const float* image;
    int64_t y, x;
  };

  Corner At(int64_t pixel) const {
    const int64_t x = pixel % g.out_width;
    const int64_t line = pixel / g.out_width;
    const int64_t y = line % g.out_height;
    const int64_t image = line / g.out_height;
    return {inputs + image * g.height * g.width * g.channels,
            y * g.stride_height - g.pad_top, x * g.stride_width - g.pad_left};
  }

  const float* Pixel(const Corner& corner, int64_t i, int64_t j) const {
    const int64_t y = corner.y + i * g.dilation_height;
    const int64_t x = corner.x + j * g.dilation_width;
    const bool inside = y >= 0 && y < g.height && x >= 0 && x < g.width;
    return inside ? corner.image + (y * g.width + x) * g.channels : nullptr;
  }

  template <class V, int kVectors>
  void Pack(int64_t row, int64_t count, float* panel) const {
    constexpr int kRows = kVectors * V::kLanes;
    Corner corners[kRows];
    bool whole = g.dilation_width == 1;  // no kernel row cut at a side
    for (int i = 0; i < count; ++i) {
      corners[i] = At(row + i);
      whole = whole && corners[i].x >= 0 &&
              corners[i].x + g.kernel_width <= g.width;
    }
    const int64_t taps = whole ? 1 : g.kernel_width;
    const int64_t length = whole ? g.kernel_width * g.channels : g.channels;
    for (int64_t i = 0; i < g.kernel_height; ++i) {
      for (int64_t j = 0; j < taps; ++j) {
        const float* lines[kRows];
        for (int r = 0; r < kRows; ++r) {
          lines[r] = r < count ? Pixel(corners[r], i, j) : nullptr;
        }
        PackLines<V, kVectors>(lines, length, panel);
        panel += length * kRows;
      }
    }
  }

  const float* One(int64_t row, float* patch) const {
    const Corner corner = At(row);
    float* to = patch;
    for (int64_t i = 0; i < g.kernel_height; ++i) {
      for (int64_t j = 0; j < g.kernel_width; ++j) {
        const float* pixel = Pixel(corner, i, j);
        for (int64_t c = 0; c < g.channels; ++c)
          *to++ = pixel ? pixel[c] : 0.0f;
      }
    }
    return patch;
  }
};

template <class V, int kVectors, int kColumns, class Index, class Rows>
void Tile(const SparseWeights& weights, const Rows& rows, int64_t row,
          int64_t count, float* outputs, float* panel) {
  rows.template Pack<V, kVectors>(row, count, panel);
  alignas(64) float block[V::kLanes * kVectors * V::kLanes];
  outputs += row * weights.units;
  for (int64_t n = 0; n < weights.units; n += V::kLanes) {
    const int64_t left = weights.units - n;
    const int64_t columns = left < V::kLanes ? left : V::kLanes;
    // The lines of a last block that is not full are transposed too.
    for (int i = static_cast<int>(columns) * kVectors; i < V::kLanes * kVectors;
         ++i) {
      V::Store(block + i * V::kLanes, V::Zero());
    }
    Block<V, kVectors, kColumns, Index>(weights, panel, n, columns, block);
    StoreBlock<V, kVectors>(block, count, columns, weights.units, outputs + n);
  }
}

// Rows that one tile should take, of those that are left.
template <class Level>
inline int64_t TileRows(int64_t inputs, int64_t rows) {
  int64_t most = Level::PanelRows(rows);
  while (most > Level::kLanes && most * inputs > kPanelFloats) {
    most = Level::PanelRows(most / 2);
  }
  return rows < most ? rows : most;
}

template <class Level, class Index, class Rows>
void AllRows(const SparseWeights& weights, const Rows& source, int64_t rows,
             float* outputs, float* scratch) {
  for (int64_t row = 0; row < rows;) {
    const int64_t count = TileRows<Level>(weights.inputs, rows - row);
    if (count == 1) {
      // With one row a block has the layout of the outputs.
      Block<OneLane, 1, 4, Index>(weights, source.One(row, scratch), 0,
                                  weights.units, outputs + row * weights.units);
    } else {
      Level::template Tiles<Index>(weights, source, row, count, outputs,
                                   scratch);
    }
    row += count;
  }
}

template <class Level, class Rows>
void AnyIndex(const SparseWeights& weights, const Rows& source, int64_t rows,
              float* outputs, float* scratch) {
  if (weights.index_bytes == 2) {
    AllRows<Level, uint16_t>(weights, source, rows, outputs, scratch);
  } else {
    AllRows<Level, int32_t>(weights, source, rows, outputs, scratch);
  }
}

template <class Level>
int64_t Scratch(int64_t inputs, int64_t rows) {
  return inputs * Level::PanelRows(TileRows<Level>(inputs, rows));
}

template <class Level>
void Matmul(const SparseWeights* weights, const float* inputs, int64_t rows,
            float* outputs, float* scratch) {
  AnyIndex<Level>(*weights, MatrixRows{inputs, weights->inputs}, rows, outputs,
                  scratch);
}

template <class Level>
void Conv2d(const SparseWeights* weights, const ConvGeometry* geometry,
            const float* inputs, float* outputs, float* scratch) {
  const int64_t rows =
      geometry->batch * geometry->out_height * geometry->out_width;
  AnyIndex<Level>(*weights, Patches{*geometry, inputs}, rows, outputs, scratch);
}
