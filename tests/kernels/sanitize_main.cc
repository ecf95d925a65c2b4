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

template <class Index>
struct Weights {
  std::vector<float> values, bias;
  std::vector<Index> indices;
  std::vector<int32_t> starts{0};

  Weights(int64_t inputs, int64_t units, int percent, Random* random) {
    for (int64_t n = 0; n < units; ++n) {
      for (int64_t k = 0; k < inputs; ++k) {
        if (static_cast<int>(random->Next() % 100) >= percent) continue;
        values.push_back(random->Float());
        indices.push_back(static_cast<Index>(k));
      }
      starts.push_back(static_cast<int32_t>(values.size()));
      bias.push_back(random->Float());
    }
  }
};

std::vector<float> Floats(int64_t count, Random* random) {
  std::vector<float> floats(static_cast<size_t>(count));
  for (float& number : floats) number = random->Float();
  return floats;
}

template <class Index>
bool Matmul(int64_t rows, int64_t inputs, int64_t units, int percent,
            uint64_t seed) {
  Random random(seed);
  const Weights<Index> w(inputs, units, percent, &random);
  const auto x = Exactly(Floats(rows * inputs, &random));
  const auto values = Exactly(w.values);
  const auto indices = Exactly(w.indices);
  const auto starts = Exactly(w.starts);
  const auto bias = Exactly(w.bias);
  const size_t size = static_cast<size_t>(rows * units);
  const std::unique_ptr<float[]> y(new float[size]);
  const int result = kc_sparse_matmul(
      x.get(), rows, inputs, units, values.get(), indices.get(), sizeof(Index),
      static_cast<int64_t>(w.values.size()), starts.get(), bias.get(), y.get());
  bool good = result == KC_SPARSE_OK;
  for (int64_t m = 0; good && m < rows; ++m) {
    for (int64_t n = 0; n < units; ++n) {
      float acc = 0.0f;
      for (int32_t p = w.starts[n]; p < w.starts[n + 1]; ++p) {
        acc = std::fma(x[m * inputs + w.indices[p]], w.values[p], acc);
      }
      acc += w.bias[n];
      good &= memcmp(&acc, &y[m * units + n], sizeof(float)) == 0;
    }
  }
  if (!good) {
    printf("%s: matmul %d x %d x %d, %d %%, %d bytes: wrong (%d)\n",
           kc_level_name(kc_level()), static_cast<int>(rows),
           static_cast<int>(inputs), static_cast<int>(units), percent,
           static_cast<int>(sizeof(Index)), result);
  }
  return good;
}

bool Conv2d(const int64_t (&g)[14], int64_t units, uint64_t seed) {
  Random random(seed);
  const Weights<uint16_t> w(g[4] * g[5] * g[3], units, 40, &random);
  const auto x = Exactly(Floats(g[0] * g[1] * g[2] * g[3], &random));
  const auto values = Exactly(w.values);
  const auto indices = Exactly(w.indices);
  const auto starts = Exactly(w.starts);
  const auto bias = Exactly(w.bias);
  const size_t size = static_cast<size_t>(g[0] * g[12] * g[13] * units);
  const std::unique_ptr<float[]> y(new float[size]);
  const int result = kc_sparse_conv2d(
      x.get(), g, units, values.get(), indices.get(), 2,
      static_cast<int64_t>(w.values.size()), starts.get(), bias.get(), y.get());
  bool good = result == KC_SPARSE_OK;
  size_t at = 0;
  for (int64_t pixel = 0; pixel < g[0] * g[12] * g[13]; ++pixel) {
    const int64_t ox = pixel % g[13];
    const int64_t oy = pixel / g[13] % g[12];
    const int64_t image = pixel / g[13] / g[12];
    for (int64_t n = 0; n < units; ++n, ++at) {
      float acc = 0.0f;
      for (int32_t p = w.starts[n]; p < w.starts[n + 1]; ++p) {
        const int64_t k = w.indices[p];
        const int64_t c = k % g[3];
        const int64_t iy = oy * g[6] - g[10] + k / g[3] / g[5] * g[8];
        const int64_t ix = ox * g[7] - g[11] + k / g[3] % g[5] * g[9];
        const bool inside = iy >= 0 && iy < g[1] && ix >= 0 && ix < g[2];
        const float input =
            inside ? x[((image * g[1] + iy) * g[2] + ix) * g[3] + c] : 0.0f;
        acc = std::fma(input, w.values[p], acc);
      }
      acc += w.bias[n];
      good &= memcmp(&acc, &y[at], sizeof(float)) == 0;
    }
  }
  if (!good) {
    printf("%s: conv2d %d x %d x %d: wrong (%d)\n", kc_level_name(kc_level()),
           static_cast<int>(g[1]), static_cast<int>(g[2]),
           static_cast<int>(g[3]), result);
  }
  return good;
}

bool Everything(uint64_t seed) {
  bool good = true;
  for (const int64_t rows :
       {0, 1, 2, 4, 5, 8, 9, 16, 17, 33, 49, 64, 65, 130}) {
    for (const int64_t inputs : {1, 3, 15, 16, 17, 64, 65}) {
      for (const int64_t units : {0, 1, 5, 16, 19}) {
        good &= Matmul<uint16_t>(rows, inputs, units, 40, ++seed);
      }
    }
    good &= Matmul<int32_t>(rows, 33, 18, 50, ++seed);
    good &= Matmul<uint16_t>(rows, 33, 18, 0, ++seed);
    good &= Matmul<uint16_t>(rows, 33, 18, 100, ++seed);
  }
  good &= Matmul<int32_t>(20, 70000, 3, 1, ++seed);
  for (const int64_t channels : {1, 3, 17}) {
    for (const int64_t dilation : {1, 2}) {
      for (const int64_t pad : {0, 1}) {
        const int64_t out = 8 - 2 * dilation + 2 * pad;
        const int64_t g[14] = {2, 8, 8,        channels, 3,   3,           1,
                               1, 1, dilation, pad,      pad, 6 + 2 * pad, out};
        good &= Conv2d(g, 7, ++seed);
      }
    }
    const int64_t strided[14] = {1, 7, 9, channels, 2, 3, 2,
                                 3, 1, 1, 0,        1, 4, 3};
    good &= Conv2d(strided, 18, ++seed);
    const int64_t one[14] = {1, 3, 3, channels, 3, 3, 1, 1, 1, 1, 0, 0, 1, 1};
    good &= Conv2d(one, 18, ++seed);
  }
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
          all &= Matmul<uint16_t>(20 * t + 1, 40 + 300 * i, 21, 30, 7);
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
