// What becomes of the sums of sparse products with rows in lanes: a bias, a
// block [columns][rows], and a transpose to the outputs [row][column].
//
// Included before sparse_lanes.h, and as it says there.

template <class V, int kVectors>
inline void AddBias(const float* bias, typename V::Type* acc, float* block) {
  const typename V::Type b = V::Broadcast(bias);
  for (int v = 0; v < kVectors; ++v) {
    V::Store(block + v * V::kLanes, V::Add(acc[v], b));
  }
}

// block[column][row] into outputs[row][column], of which `rows` and `count` are
// there; the block has kLanes columns.
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
      if (count >= V::kLanes) {
        V::Store(outputs + row * stride, lines[i]);
      } else {
        V::StorePart(outputs + row * stride, lines[i], count);
      }
    }
  }
}

// As StoreBlock, of any number of columns; a last block is filled up.
template <class V, int kVectors>
inline void StoreColumns(const float* block, int64_t rows, int64_t count,
                         int64_t stride, float* outputs) {
  constexpr int kRows = kVectors * V::kLanes;
  for (int64_t n = 0; n < count; n += V::kLanes) {
    StoreBlock<V, kVectors>(block + n * kRows, rows, count - n, stride,
                            outputs + n);
  }
}
