// Sparse products with a panel's 16 units in lanes, for few rows.
//
// Included as sparse_lanes.h is, and behind it. The vector type `V` of a level
// also has `Window`, the 32 inputs of a step, `At`, which finds it in the table
// that the level made of a row, and `Pick`: for each lane, the input that a
// byte says, modulo 32.

// Sums of a panel, with the bias, into a row of outputs.
template <class V>
inline void StoreUnits(const SparseWeights& weights, int64_t n,
                       const typename V::Type* acc, float* outputs) {
  for (int part = 0; part < kSparsePanel / V::kLanes; ++part) {
    const int64_t at = n + part * V::kLanes;
    const int64_t left = weights.units - at;
    if (left >= V::kLanes) {
      V::Store(outputs + at, V::Add(acc[part], V::Load(weights.bias + at)));
    } else if (left > 0) {
      V::StorePart(outputs + at,
                   V::Add(acc[part], V::LoadPart(weights.bias + at, left)),
                   left);
    }
  }
}

// kSparsePanels: kPanels neighbouring panels, from q on, times kRows rows.
template <class V, int kRows, int kPanels>
inline void Panels(const SparseWeights& weights, const float* const* lines,
                   int64_t q, int64_t rows, float* outputs) {
  constexpr int kParts = kSparsePanel / V::kLanes;
  typename V::Type acc[kPanels][kRows][kParts];
  const float* values[kPanels];
  const uint16_t* indices[kPanels];
  int64_t left[kPanels];
  int64_t common = INT64_MAX;
  for (int c = 0; c < kPanels; ++c) {
    const int64_t first = weights.starts[q + c];
    values[c] = weights.values + first * kSparsePanel;
    indices[c] = static_cast<const uint16_t*>(weights.indices) + first;
    left[c] = weights.starts[q + c + 1] - first;
    common = left[c] < common ? left[c] : common;
    for (int r = 0; r < kRows; ++r) {
      for (int i = 0; i < kParts; ++i) acc[c][r][i] = V::Zero();
    }
  }
  const auto multiply = [&](int c, int64_t p) {
    typename V::Type w[kParts];
    for (int i = 0; i < kParts; ++i) {
      w[i] = V::Load(values[c] + p * kSparsePanel + i * V::kLanes);
    }
    for (int r = 0; r < kRows; ++r) {
      const typename V::Type x = V::Broadcast(lines[r] + indices[c][p]);
      for (int i = 0; i < kParts; ++i) {
        acc[c][r][i] = V::Fma(x, w[i], acc[c][r][i]);
      }
    }
  };
  for (int64_t p = 0; p < common; ++p) {
    for (int c = 0; c < kPanels; ++c) multiply(c, p);
  }
  for (int c = 0; c < kPanels; ++c) {
    for (int64_t p = common; p < left[c]; ++p) multiply(c, p);
    for (int r = 0; r < kRows && r < rows; ++r) {
      StoreUnits<V>(weights, (q + c) * kSparsePanel, acc[c][r],
                    outputs + r * weights.units);
    }
  }
}

// Rows from `rows` on are given, too, but not stored.
template <class V, int kRows, int kPanels>
void FewPanelRows(const SparseWeights& weights, const float* const* lines,
                  int64_t rows, float* outputs) {
  const int64_t panels = (weights.units + kSparsePanel - 1) / kSparsePanel;
  int64_t q = 0;
  for (; q + kPanels <= panels; q += kPanels) {
    Panels<V, kRows, kPanels>(weights, lines, q, rows, outputs);
  }
  for (; q < panels; ++q) {
    Panels<V, kRows, 1>(weights, lines, q, rows, outputs);
  }
}

// kSparseLanes: one row, from the table that a level makes of it.
template <class V>
void LaneProduct(const SparseWeights& weights, const float* table,
                 float* outputs) {
  constexpr int kParts = kSparseGroup / V::kLanes;
  const uint8_t* index = static_cast<const uint8_t*>(weights.indices);
  const float* value = weights.values;
  const uint16_t* window = weights.windows;
  const int32_t* order = weights.order;
  const int64_t groups = (weights.units + kSparseGroup - 1) / kSparseGroup;
  for (int64_t q = 0; q < groups; ++q, order += kSparseGroup) {
    typename V::Type acc[kParts];
    for (int i = 0; i < kParts; ++i) acc[i] = V::Zero();
    const uint16_t* end = weights.windows + weights.starts[q + 1];
    for (; window < end; ++window) {
      const typename V::Window inputs = V::At(table, *window);
      for (int i = 0; i < kParts; ++i) {
        acc[i] = V::Fma(V::Pick(inputs, index + i * V::kLanes),
                        V::Load(value + i * V::kLanes), acc[i]);
      }
      index += kSparseGroup;
      value += kSparseGroup;
    }
    float sums[kSparseGroup];
    for (int i = 0; i < kParts; ++i) V::Store(sums + i * V::kLanes, acc[i]);
    for (int i = 0; i < kSparseGroup; ++i) {
      if (order[i] >= weights.units) continue;
      outputs[order[i]] = sums[i] + weights.bias[order[i]];
    }
  }
}

// A row with zeros after it, for levels that look inputs up where they are.
inline void PadRow(const float* row, int64_t inputs, float* table) {
  for (int64_t k = 0; k < inputs; ++k) table[k] = row[k];
  for (int64_t k = 0; k < kSparseWindow; ++k) table[inputs + k] = 0.0f;
}
