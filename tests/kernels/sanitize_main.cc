// Runs every level on buffers that are exactly as long as they must be, and
// compares it with the scalar kernel bit for bit. For the sanitizers, and for
// machines that are only emulated.
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmath>
#include <memory>
#include <thread>
#include <vector>

#include "dispatch.h"
#include "sparse_api.h"

bool EveryXnor(uint64_t seed);         // sanitize_xnor.cc
bool EveryXnorConv2d(uint64_t seed);   // sanitize_xnor_conv2d.cc
bool EveryXnorNetwork(uint64_t seed);  // sanitize_xnor_network.cc
bool EveryInteger(uint64_t seed);      // sanitize_integer.cc
bool EveryLowRank(uint64_t seed);      // sanitize_low_rank.cc

namespace {

// Numbers that are the same everywhere.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 2654435761u + 1) {}
  uint32_t Next() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>(state_ >> 33);
  }
  float Float() { return static_cast<float>(Next() % 2001) / 1000.0f - 1.0f; }

 private:
  uint64_t state_;
};

// A heap block of its own, so that one number too far is seen.
template <class T>
std::unique_ptr<T[]> Exactly(const std::vector<T>& from) {
  std::unique_ptr<T[]> block(new T[from.size()]);
  if (!from.empty()) memcpy(block.get(), from.data(), from.size() * sizeof(T));
  return block;
}

// A matrix, and its weights in a layout. None of the encoders is clever: what
// they give must be right, not short.
struct Weights {
  int64_t layout, inputs, units;
  std::vector<float> dense, bias;  // dense[n * inputs + k]
  std::vector<float> values;
  std::vector<uint8_t> bytes;  // indices of one byte
  std::vector<uint16_t> shorts, windows;
  std::vector<int32_t> ints, starts, order;
  std::vector<uint8_t> segments;
  int index_bytes = 2;

  Weights(int64_t layout_, int64_t inputs_, int64_t units_, int percent,
          Random* random)
      : layout(layout_), inputs(inputs_), units(units_) {
    dense.resize(static_cast<size_t>(inputs * units));
    for (float& weight : dense) {
      if (static_cast<int>(random->Next() % 100) < percent) {
        weight = random->Float();
      }
    }
    for (int64_t n = 0; n < units; ++n) bias.push_back(random->Float());
    if (layout == keras_compress::kSparseColumns) Columns();
    if (layout == keras_compress::kSparsePanels) Panels();
    if (layout == keras_compress::kSparseLanes) Lanes();
    if (layout == keras_compress::kSparseBlocks) Blocks();
  }

  float At(int64_t k, int64_t n) const {
    return n < units ? dense[n * inputs + k] : 0.0f;
  }
  // Indices of columns in four bytes, where two do not reach or are not wanted.
  void Widen() {
    ints.assign(shorts.begin(), shorts.end());
    index_bytes = 4;
  }

  void Columns() {
    starts.push_back(0);
    for (int64_t n = 0; n < units; ++n) {
      for (int64_t k = 0; k < inputs; ++k) {
        if (At(k, n) == 0.0f) continue;
        values.push_back(At(k, n));
        shorts.push_back(static_cast<uint16_t>(k));
        if (inputs > 65536) ints.push_back(static_cast<int32_t>(k));
      }
      starts.push_back(static_cast<int32_t>(values.size()));
    }
    if (inputs > 65536) index_bytes = 4;
  }

  void Panels() {
    starts.push_back(0);
    for (int64_t n = 0; n < units; n += 16) {
      for (int64_t k = 0; k < inputs; ++k) {
        bool kept = false;
        for (int j = 0; j < 16; ++j) kept |= At(k, n + j) != 0.0f;
        if (!kept) continue;
        for (int j = 0; j < 16; ++j) values.push_back(At(k, n + j));
        shorts.push_back(static_cast<uint16_t>(k));
      }
      starts.push_back(static_cast<int32_t>(shorts.size()));
    }
  }

  // Columns from the last to the first, so that the order has a meaning.
  void Lanes() {
    starts.push_back(0);
    const int64_t lanes = (units + 31) / 32 * 32;
    for (int64_t at = 0; at < lanes; ++at) {
      order.push_back(static_cast<int32_t>(lanes - 1 - at));
    }
    for (int64_t q = 0; q < lanes; q += 32) {
      int64_t next[32] = {};
      while (true) {
        int64_t least = inputs;
        for (int j = 0; j < 32; ++j) {
          while (next[j] < inputs && At(next[j], order[q + j]) == 0.0f) {
            ++next[j];
          }
          least = next[j] < least ? next[j] : least;
        }
        if (least == inputs) break;
        const int64_t window = least / 4;
        windows.push_back(static_cast<uint16_t>(window));
        for (int j = 0; j < 32; ++j) {
          const int64_t offset = next[j] - window * 4;
          const bool takes = next[j] < inputs && offset < 32;
          values.push_back(takes ? At(next[j]++, order[q + j]) : 0.0f);
          bytes.push_back(static_cast<uint8_t>(takes ? offset : 31));
        }
      }
      starts.push_back(static_cast<int32_t>(windows.size()));
    }
    index_bytes = 1;
  }

  void Blocks() {
    for (int64_t n = 0; n < units; n += 64) {
      const int64_t count = units - n < 64 ? units - n : 64;
      for (int64_t first = 0; first < inputs; first += 96) {
        const int64_t last = first + 96 < inputs ? first + 96 : inputs;
        for (int64_t length = 96; length >= 0; --length) {
          for (int64_t j = 0; j < count; ++j) {
            int64_t kept = 0;
            for (int64_t k = first; k < last; ++k) kept += At(k, n + j) != 0.0f;
            if (kept != length) continue;
            segments.push_back(static_cast<uint8_t>(j));
            segments.push_back(static_cast<uint8_t>(length));
            for (int64_t k = first; k < last; ++k) {
              if (At(k, n + j) == 0.0f) continue;
              values.push_back(At(k, n + j));
              bytes.push_back(static_cast<uint8_t>(k - first));
            }
          }
        }
      }
    }
    index_bytes = 1;
  }
};

// The weights in heap blocks of their own, and the matrix that points there.
struct Stored {
  explicit Stored(const Weights& w)
      : values(Exactly(w.values)),
        bias(Exactly(w.bias)),
        bytes(Exactly(w.bytes)),
        shorts(Exactly(w.shorts)),
        windows(Exactly(w.windows)),
        ints(Exactly(w.ints)),
        starts(Exactly(w.starts)),
        order(Exactly(w.order)),
        segments(Exactly(w.segments)) {
    const auto length = [](const auto& v) {
      return static_cast<int64_t>(v.size());
    };
    matrix.layout = w.layout;
    matrix.inputs = w.inputs;
    matrix.units = w.units;
    matrix.values = values.get();
    matrix.value_count = length(w.values);
    matrix.index_bytes = w.index_bytes;
    if (w.index_bytes == 1) {
      matrix.indices = bytes.get();
      matrix.index_count = length(w.bytes);
    } else {
      matrix.indices = w.index_bytes == 2 ? static_cast<void*>(shorts.get())
                                          : static_cast<void*>(ints.get());
      matrix.index_count = length(w.shorts);
    }
    matrix.starts = starts.get();
    matrix.start_count = length(w.starts);
    matrix.windows = windows.get();
    matrix.window_count = length(w.windows);
    matrix.order = order.get();
    matrix.order_count = length(w.order);
    matrix.segments = segments.get();
    matrix.segment_bytes = length(w.segments);
    matrix.bias = bias.get();
  }

  std::unique_ptr<float[]> values, bias;
  std::unique_ptr<uint8_t[]> bytes;
  std::unique_ptr<uint16_t[]> shorts, windows;
  std::unique_ptr<int32_t[]> ints, starts, order;
  std::unique_ptr<uint8_t[]> segments;
  KcSparseMatrix matrix = {};
};

constexpr int64_t kLayouts[] = {
    keras_compress::kSparseColumns, keras_compress::kSparsePanels,
    keras_compress::kSparseLanes, keras_compress::kSparseBlocks};

std::vector<float> Floats(int64_t count, Random* random) {
  std::vector<float> floats(static_cast<size_t>(count));
  for (float& number : floats) number = random->Float();
  return floats;
}

bool Matmul(int64_t layout, int64_t rows, int64_t inputs, int64_t units,
            int percent, uint64_t seed, bool wide = false) {
  Random random(seed);
  Weights w(layout, inputs, units, percent, &random);
  if (wide) w.Widen();
  const Stored stored(w);
  const auto x = Exactly(Floats(rows * inputs, &random));
  const size_t size = static_cast<size_t>(rows * units);
  const std::unique_ptr<float[]> y(new float[size]);
  const int result = kc_sparse_matmul(&stored.matrix, x.get(), rows, y.get());
  bool good = result == KC_SPARSE_OK;
  for (int64_t m = 0; good && m < rows; ++m) {
    for (int64_t n = 0; n < units; ++n) {
      float acc = 0.0f;
      for (int64_t k = 0; k < inputs; ++k) {
        if (w.At(k, n) == 0.0f) continue;
        acc = std::fma(x[m * inputs + k], w.At(k, n), acc);
      }
      acc += w.bias[n];
      good &= memcmp(&acc, &y[m * units + n], sizeof(float)) == 0;
    }
  }
  if (!good) {
    printf("%s: layout %d: matmul %d x %d x %d, %d %%: wrong (%d)\n",
           kc_level_name(kc_level()), static_cast<int>(layout),
           static_cast<int>(rows), static_cast<int>(inputs),
           static_cast<int>(units), percent, result);
  }
  return good;
}

bool Conv2d(int64_t layout, const int64_t (&g)[14], int64_t units,
            uint64_t seed) {
  Random random(seed);
  const Weights w(layout, g[4] * g[5] * g[3], units, 40, &random);
  const Stored stored(w);
  const auto x = Exactly(Floats(g[0] * g[1] * g[2] * g[3], &random));
  const size_t size = static_cast<size_t>(g[0] * g[12] * g[13] * units);
  const std::unique_ptr<float[]> y(new float[size]);
  const int result = kc_sparse_conv2d(&stored.matrix, g, x.get(), y.get());
  bool good = result == KC_SPARSE_OK;
  size_t at = 0;
  for (int64_t pixel = 0; pixel < g[0] * g[12] * g[13]; ++pixel) {
    const int64_t ox = pixel % g[13];
    const int64_t oy = pixel / g[13] % g[12];
    const int64_t image = pixel / g[13] / g[12];
    for (int64_t n = 0; n < units; ++n, ++at) {
      float acc = 0.0f;
      for (int64_t k = 0; k < w.inputs; ++k) {
        if (w.At(k, n) == 0.0f) continue;
        const int64_t c = k % g[3];
        const int64_t iy = oy * g[6] - g[10] + k / g[3] / g[5] * g[8];
        const int64_t ix = ox * g[7] - g[11] + k / g[3] % g[5] * g[9];
        const bool inside = iy >= 0 && iy < g[1] && ix >= 0 && ix < g[2];
        const float input =
            inside ? x[((image * g[1] + iy) * g[2] + ix) * g[3] + c] : 0.0f;
        acc = std::fma(input, w.At(k, n), acc);
      }
      acc += w.bias[n];
      good &= memcmp(&acc, &y[at], sizeof(float)) == 0;
    }
  }
  if (!good) {
    printf("%s: layout %d: conv2d %d x %d x %d: wrong (%d)\n",
           kc_level_name(kc_level()), static_cast<int>(layout),
           static_cast<int>(g[1]), static_cast<int>(g[2]),
           static_cast<int>(g[3]), result);
  }
  return good;
}

bool EveryShape(int64_t layout, uint64_t seed) {
  bool good = true;
  for (const int64_t rows :
       {0, 1, 2, 4, 5, 8, 9, 16, 17, 33, 49, 64, 65, 130}) {
    for (const int64_t inputs : {1, 3, 15, 16, 17, 64, 97}) {
      for (const int64_t units : {0, 1, 5, 16, 19, 67}) {
        good &= Matmul(layout, rows, inputs, units, 40, ++seed);
      }
    }
    good &= Matmul(layout, rows, 33, 18, 0, ++seed);
    good &= Matmul(layout, rows, 133, 78, 100, ++seed);
  }
  for (const int64_t channels : {1, 3, 17}) {
    for (const int64_t dilation : {1, 2}) {
      for (const int64_t pad : {0, 1}) {
        const int64_t out = 8 - 2 * dilation + 2 * pad;
        const int64_t g[14] = {2, 8, 8,        channels, 3,   3,           1,
                               1, 1, dilation, pad,      pad, 6 + 2 * pad, out};
        good &= Conv2d(layout, g, 7, ++seed);
      }
    }
    const int64_t strided[14] = {1, 7, 9, channels, 2, 3, 2,
                                 3, 1, 1, 0,        1, 4, 3};
    good &= Conv2d(layout, strided, 18, ++seed);
    const int64_t one[14] = {1, 3, 3, channels, 3, 3, 1, 1, 1, 1, 0, 0, 1, 1};
    good &= Conv2d(layout, one, 18, ++seed);
  }
  return good;
}

bool Everything(uint64_t seed) {
  bool good = true;
  for (const int64_t layout : kLayouts) good &= EveryShape(layout, seed);
  for (const int64_t rows : {1, 5, 40}) {
    good &=
        Matmul(keras_compress::kSparseColumns, rows, 33, 18, 50, ++seed, true);
  }
  good &= Matmul(keras_compress::kSparseColumns, 20, 70000, 3, 1, ++seed);
  return good;
}

}  // namespace

int main() {
  bool good = true;
  printf("levels:");
  for (int i = 0; i < kc_num_levels(); ++i) printf(" %s", kc_level_name(i));
  printf("\n");
  for (int level = 0; level < kc_num_levels(); ++level) {
    kc_set_level(level);
    good &= Everything(static_cast<uint64_t>(level));
    good &= EveryLowRank(static_cast<uint64_t>(level));
    for (const int use : {0, 1}) {
      kc_use_extensions(use);
      good &= EveryXnor(static_cast<uint64_t>(level));
      good &= EveryXnorConv2d(static_cast<uint64_t>(level));
      good &= EveryXnorNetwork(static_cast<uint64_t>(level));
      good &= EveryInteger(static_cast<uint64_t>(level));
    }
    // Several calls at once share nothing.
    bool each[3] = {};
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&each, t] {
        bool all = true;
        for (int i = 0; i < 4; ++i) {
          all &= Matmul(kLayouts[i], 20 * t + 1, 40 + 300 * i, 21, 30, 7);
        }
        each[t] = all;
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const bool one : each) good &= one;
  }
  printf(good ? "good\n" : "WRONG\n");
  return good ? 0 : 1;
}
