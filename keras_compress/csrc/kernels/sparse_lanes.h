// Sparse products with rows in lanes, once for every SIMD level.
//
// A stored weight is one broadcast, and one load and one fma for each vector of
// rows of a panel [inputs][rows of the tile]. Several columns take turns, so
// that enough independent chains run to hide the latency of fma; one column's
// own chain stays in order. Sums go through a small block [columns][rows] and a
// transpose to the outputs.
//
// A file that includes this does so inside an anonymous namespace, since its
// own flags hold for what is in here, and gives vector types `V` with: `Type`,
// `kLanes`, `Zero`, `Load`, `LoadPart` (the first `count`, zeros after them, no
// access past them), `Store`, `StorePart`, `Broadcast`, `LoadFour` and `Of<i>`
// (number i of four that one load has brought), `Fma`, `Add`, `Transpose` (of
// kLanes vectors), and `kLoadsAreDear`: whether more fma than loads of whole
// vectors can start in a cycle.

// A single row as a vector of one lane, for the smallest batch.
struct OneLane {
  using Type = float;
  static constexpr int kLanes = 1;
  static Type Zero() { return 0.0f; }
  static Type Load(const float* from) { return *from; }
  static void Store(float* to, Type value) { *to = value; }
  static void StorePart(float*, Type, int64_t) {}
  static constexpr bool kLoadsAreDear = false;
  using Four = const float*;
  static Four LoadFour(const float* from) { return from; }
  template <int i>
  static Type Of(Four four) {
    return four[i];
  }
  static Type Broadcast(const float* from) { return *from; }
  static Type Fma(Type a, Type b, Type c) { return __builtin_fmaf(a, b, c); }
  static Type Add(Type a, Type b) { return a + b; }
  static void Transpose(Type*) {}
};

// A row of the panel times a weight, onto a column's sums.
template <class V, int kVectors>
inline void Multiply(const float* row, typename V::Type weight,
                     typename V::Type* acc) {
  for (int v = 0; v < kVectors; ++v) {
    acc[v] = V::Fma(V::Load(row + v * V::kLanes), weight, acc[v]);
  }
}

// One weight of a column.
template <class V, int kVectors, class Index>
inline void MultiplyOne(const float* panel, const Index* index,
                        const float* value, typename V::Type* acc) {
  constexpr int kRows = kVectors * V::kLanes;
  Multiply<V, kVectors>(panel + int64_t{*index} * kRows, V::Broadcast(value),
                        acc);
}

// One load for four indices.
inline void LoadIndices(const uint8_t* from, int64_t* k) {
  uint32_t four;
  memcpy(&four, from, sizeof(four));
  for (int i = 0; i < 4; ++i) k[i] = four >> (8 * i) & 0xff;
}
inline void LoadIndices(const uint16_t* from, int64_t* k) {
  uint64_t four;
  memcpy(&four, from, sizeof(four));
  for (int i = 0; i < 4; ++i) k[i] = four >> (16 * i) & 0xffff;
}
inline void LoadIndices(const int32_t* from, int64_t* k) {
  for (int i = 0; i < 4; ++i) k[i] = from[i];
}

// Four weights of a column, one after the other; loads are what limits this.
template <class V, int kVectors, class Index>
inline void MultiplyFour(const float* panel, const Index* index,
                         const float* value, typename V::Type* acc) {
  constexpr int kRows = kVectors * V::kLanes;
  int64_t k[4];
  LoadIndices(index, k);
  const typename V::Four weights = V::LoadFour(value);
  Multiply<V, kVectors>(panel + k[0] * kRows, V::template Of<0>(weights), acc);
  Multiply<V, kVectors>(panel + k[1] * kRows, V::template Of<1>(weights), acc);
  Multiply<V, kVectors>(panel + k[2] * kRows, V::template Of<2>(weights), acc);
  Multiply<V, kVectors>(panel + k[3] * kRows, V::template Of<3>(weights), acc);
}

// kSparseColumns: kColumns neighbouring columns, from n on, into
// block[column][row].
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
  int64_t p = 0;
  for (; p + 4 <= common; p += 4) {
    for (int c = 0; c < kColumns; ++c) {
      MultiplyFour<V, kVectors>(panel, indices[c] + p, values[c] + p, acc[c]);
    }
  }
  common = p;
  for (int c = 0; c < kColumns; ++c) {
    for (p = common; p + 4 <= left[c]; p += 4) {
      MultiplyFour<V, kVectors>(panel, indices[c] + p, values[c] + p, acc[c]);
    }
    for (; p < left[c]; ++p) {
      MultiplyOne<V, kVectors>(panel, indices[c] + p, values[c] + p, acc[c]);
    }
    AddBias<V, kVectors>(weights.bias + n + c, acc[c], block + c * kRows);
  }
}

// Columns n to n + count into block[column][row].
template <class V, int kVectors, int kColumns, class Index>
inline void ColumnBlock(const SparseWeights& weights, const float* panel,
                        int64_t n, int64_t count, float* block) {
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

template <class V, int kVectors, int kColumns, class Index>
void ColumnProduct(const SparseWeights& weights, const float* panel,
                   int64_t rows, float* outputs) {
  if (V::kLanes == 1) {  // then a block has the layout of the outputs
    ColumnBlock<V, kVectors, kColumns, Index>(weights, panel, 0, weights.units,
                                              outputs);
    return;
  }
  alignas(64) float block[V::kLanes * kVectors * V::kLanes] = {};
  for (int64_t n = 0; n < weights.units; n += V::kLanes) {
    const int64_t left = weights.units - n;
    const int64_t columns = left < V::kLanes ? left : V::kLanes;
    ColumnBlock<V, kVectors, kColumns, Index>(weights, panel, n, columns,
                                              block);
    StoreBlock<V, kVectors>(block, rows, columns, weights.units, outputs + n);
  }
}

// Weight i of four times a row of the panel, onto sums i.
template <class V, int kVectors, int i>
inline void MultiplyOf(typename V::Four weights, const typename V::Type* x,
                       typename V::Type (*acc)[kVectors]) {
  for (int v = 0; v < kVectors; ++v) {
    acc[i][v] = V::Fma(x[v], V::template Of<i>(weights), acc[i][v]);
  }
}

// kSparsePanels: kColumns of a panel's 16 columns at a time, which read the
// same inputs, so that a row of the panel is loaded once for all of them. Of a
// single vector of rows, half of the weights come four by four, where loads are
// dear.
template <class V, int kVectors, int kColumns>
void PanelProduct(const SparseWeights& weights, const float* panel,
                  int64_t rows, float* outputs) {
  constexpr int kRows = kVectors * V::kLanes;
  constexpr int kByFour = V::kLoadsAreDear && kVectors == 1 ? kColumns / 2 : 0;
  const uint16_t* indices = static_cast<const uint16_t*>(weights.indices);
  alignas(64) float block[kSparsePanel * kRows];
  for (int64_t n = 0; n < weights.units; n += kSparsePanel) {
    const int64_t first = weights.starts[n / kSparsePanel];
    const int64_t last = weights.starts[n / kSparsePanel + 1];
    const int64_t left = weights.units - n;
    for (int c = 0; c < kSparsePanel; c += kColumns) {
      typename V::Type acc[kColumns][kVectors];
      for (int i = 0; i < kColumns; ++i) {
        for (int v = 0; v < kVectors; ++v) acc[i][v] = V::Zero();
      }
      const float* value = weights.values + first * kSparsePanel + c;
      for (int64_t p = first; p < last; ++p, value += kSparsePanel) {
        const float* row = panel + int64_t{indices[p]} * kRows;
        typename V::Type x[kVectors];
        for (int v = 0; v < kVectors; ++v) x[v] = V::Load(row + v * V::kLanes);
        for (int i = 0; i < kByFour; i += 4) {
          const typename V::Four four = V::LoadFour(value + i);
          MultiplyOf<V, kVectors, 0>(four, x, acc + i);
          MultiplyOf<V, kVectors, 1>(four, x, acc + i);
          MultiplyOf<V, kVectors, 2>(four, x, acc + i);
          MultiplyOf<V, kVectors, 3>(four, x, acc + i);
        }
        for (int i = kByFour; i < kColumns; ++i) {
          const typename V::Type weight = V::Broadcast(value + i);
          for (int v = 0; v < kVectors; ++v) {
            acc[i][v] = V::Fma(x[v], weight, acc[i][v]);
          }
        }
      }
      for (int i = 0; i < kColumns; ++i) {
        float bias = c + i < left ? weights.bias[n + c + i] : 0.0f;
        AddBias<V, kVectors>(&bias, acc[i], block + (c + i) * kRows);
      }
    }
    StoreColumns<V, kVectors>(block, rows,
                              left < kSparsePanel ? left : kSparsePanel,
                              weights.units, outputs + n);
  }
}

// kSparseBlocks: two segments at once, onto the sums of a chunk, which stay in
// the first-level cache with the block's inputs.
template <class V, int kVectors>
void BlockProduct(const SparseWeights& weights, const float* panel,
                  int64_t rows, float* outputs) {
  constexpr int kRows = kVectors * V::kLanes;
  const uint8_t* segment = weights.segments;
  const float* value = weights.values;
  const uint8_t* index = static_cast<const uint8_t*>(weights.indices);
  alignas(64) float sums[kSparseChunk * kRows];
  for (int64_t n = 0; n < weights.units; n += kSparseChunk) {
    const int64_t left = weights.units - n;
    const int64_t count = left < kSparseChunk ? left : kSparseChunk;
    for (int i = 0; i < kSparseChunk * kRows; ++i) sums[i] = 0.0f;
    for (int64_t k = 0; k < weights.inputs; k += kSparseBlock) {
      const float* x = panel + k * kRows;
      for (int64_t s = 0; s < count; s += 2) {
        const int64_t longer = segment[2 * s + 1];
        const int64_t shorter = s + 1 < count ? segment[2 * s + 3] : 0;
        if (longer == 0) break;
        float* to[2] = {sums + segment[2 * s] * kRows,
                        sums + (shorter ? segment[2 * s + 2] : 0) * kRows};
        typename V::Type acc[2][kVectors];
        for (int v = 0; v < kVectors; ++v) {
          acc[0][v] = V::Load(to[0] + v * V::kLanes);
          acc[1][v] = V::Load(to[1] + v * V::kLanes);
        }
        const uint8_t* index1 = index + longer;
        const float* value1 = value + longer;
        int64_t p = 0;
        for (; p + 4 <= shorter; p += 4) {
          MultiplyFour<V, kVectors>(x, index + p, value + p, acc[0]);
          MultiplyFour<V, kVectors>(x, index1 + p, value1 + p, acc[1]);
        }
        for (; p < shorter; ++p) {
          MultiplyOne<V, kVectors>(x, index + p, value + p, acc[0]);
          MultiplyOne<V, kVectors>(x, index1 + p, value1 + p, acc[1]);
        }
        for (; p < longer; ++p) {
          MultiplyOne<V, kVectors>(x, index + p, value + p, acc[0]);
        }
        for (int v = 0; v < kVectors; ++v) {
          if (shorter) V::Store(to[1] + v * V::kLanes, acc[1][v]);
          V::Store(to[0] + v * V::kLanes, acc[0][v]);
        }
        value += longer + shorter;
        index += longer + shorter;
      }
      segment += 2 * count;
    }
    for (int64_t c = 0; c < count; ++c) {
      typename V::Type acc[kVectors];
      for (int v = 0; v < kVectors; ++v) {
        acc[v] = V::Load(sums + c * kRows + v * V::kLanes);
      }
      AddBias<V, kVectors>(weights.bias + n + c, acc, sums + c * kRows);
    }
    StoreColumns<V, kVectors>(sums, rows, count, weights.units, outputs + n);
  }
}
