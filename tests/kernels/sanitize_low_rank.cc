// The low-rank products, for sanitize_main.cc.
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmath>
#include <initializer_list>
#include <memory>
#include <vector>

#include "dispatch.h"
#include "low_rank_api.h"
#include "worker_pool.h"

namespace {

uint32_t Next(uint64_t* state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return static_cast<uint32_t>(*state >> 32);
}

// A heap block of its own of exactly the right size.
std::unique_ptr<float[]> Block(int64_t size, uint64_t* state) {
  std::unique_ptr<float[]> block(new float[static_cast<size_t>(size)]);
  for (int64_t i = 0; i < size; ++i) {
    block[i] = static_cast<float>(Next(state) % 2001) / 1000.0f - 1.0f;
  }
  return block;
}

float At(const float* panels, int64_t rows, int64_t columns, int64_t k,
         int64_t n) {
  const int64_t first = n / 64 * 64;
  const int64_t width = columns - first < 64 ? columns - first : 64;
  return panels[first * rows + k * width + n - first];
}

bool Matmul(int64_t rows, int64_t inputs, int64_t rank, int64_t units,
            uint64_t seed) {
  uint64_t state = seed;
  const auto left = Block(inputs * rank, &state);
  const auto right = Block(rank * units, &state);
  const auto bias = Block(units, &state);
  const auto x = Block(rows * inputs, &state);
  const auto y = Block(rows * units, &state);
  const int64_t relu = static_cast<int64_t>(seed % 2);
  const KcLowRankProduct product = {inputs,       rank,          units,
                                    left.get(),   inputs * rank, right.get(),
                                    rank * units, bias.get(),    relu};
  const int result = kc_low_rank_matmul(&product, x.get(), rows, y.get());
  bool good = result == KC_LOW_RANK_OK;
  std::vector<float> hidden(static_cast<size_t>(rank));
  for (int64_t m = 0; good && m < rows; ++m) {
    for (int64_t r = 0; r < rank; ++r) {
      float acc = 0.0f;
      for (int64_t k = 0; k < inputs; ++k) {
        acc = std::fma(x[m * inputs + k], At(left.get(), inputs, rank, k, r),
                       acc);
      }
      hidden[static_cast<size_t>(r)] = acc;
    }
    for (int64_t n = 0; n < units; ++n) {
      float acc = 0.0f;
      for (int64_t r = 0; r < rank; ++r) {
        acc = std::fma(hidden[static_cast<size_t>(r)],
                       At(right.get(), rank, units, r, n), acc);
      }
      acc += bias[n];
      if (relu == 1 && acc < 0.0f) acc = 0.0f;
      good &= memcmp(&acc, &y[m * units + n], sizeof(float)) == 0;
    }
  }
  if (!good) {
    printf("%s: low rank %d x %d x %d x %d: wrong (%d)\n",
           kc_level_name(kc_level()), static_cast<int>(rows),
           static_cast<int>(inputs), static_cast<int>(rank),
           static_cast<int>(units), result);
  }
  return good;
}

}  // namespace

bool EveryLowRank(uint64_t seed);

bool EveryLowRank(uint64_t seed) {
  bool good = true;
  for (const int64_t rows : {0, 1, 2, 5, 6, 7, 13, 30}) {
    for (const int64_t rank : {1, 5, 16, 19, 33, 50, 64, 67}) {
      good &= Matmul(rows, 21, rank, 2 * rank - 1, ++seed);
    }
  }
  good &= Matmul(8, 1030, 3, 4, ++seed);
  const int threads = kc_threads();
  kc_set_threads(3);
  for (const int64_t rows : {1, 40, 200}) {
    good &= Matmul(rows, 300, 70, 300, ++seed);
  }
  kc_set_threads(threads);
  return good;
}
