// The products of packed signs and the worker pool, for sanitize_main.cc.
#include <stdint.h>
#include <stdio.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "dispatch.h"
#include "worker_pool.h"
#include "xnor_api.h"

namespace {

uint32_t Next(uint64_t* state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return static_cast<uint32_t>(*state >> 32);
}

// Blocks of their own of exactly the right size.
struct Weights {
  int64_t inputs, units, words, panels;
  std::unique_ptr<uint32_t[]> signs, masks, flips;
  std::unique_ptr<int32_t[]> kept, thresholds;
  std::unique_ptr<float[]> scale, bias;

  Weights(int64_t k, int64_t n, bool masked, uint64_t* state)
      : inputs(k), units(n), words((k + 31) / 32), panels((n + 15) / 16) {
    const size_t size = static_cast<size_t>(panels * words * 16);
    signs.reset(new uint32_t[size]());
    if (masked) masks.reset(new uint32_t[size]());
    flips.reset(new uint32_t[static_cast<size_t>((n + 31) / 32)]());
    kept.reset(new int32_t[static_cast<size_t>(n)]());
    thresholds.reset(new int32_t[static_cast<size_t>(n)]);
    scale.reset(new float[static_cast<size_t>(n)]);
    bias.reset(new float[static_cast<size_t>(n)]);
    for (int64_t u = 0; u < n; ++u) {
      thresholds[u] = static_cast<int32_t>(Next(state) % 9) - 4;
      scale[u] = static_cast<float>(Next(state) % 100) / 37.0f;
      bias[u] = static_cast<float>(Next(state) % 100) / 31.0f - 1.0f;
      flips[u / 32] |= (Next(state) & 1u) << (u % 32);
      for (int64_t i = 0; i < k; ++i) {
        const bool keep = !masked || u < 64 || Next(state) % 3 != 0;
        const uint32_t bit = 1u << (i % 32);
        if (keep && (Next(state) & 1u)) signs[At(u, i)] |= bit;
        if (keep && masked) masks[At(u, i)] |= bit;
        kept[u] += keep;
      }
    }
  }

  size_t At(int64_t u, int64_t i) const {
    return static_cast<size_t>((u / 16 * words + i / 32) * 16 + u % 16);
  }
  int32_t Weight(int64_t u, int64_t i) const {
    if (masks && (masks[At(u, i)] >> (i % 32) & 1u) == 0) return 0;
    return (signs[At(u, i)] >> (i % 32) & 1u) != 0 ? -1 : 1;
  }
  KcXnorLayer Layer(int64_t output) const {
    return {inputs,      units,
            signs.get(), masks.get(),
            kept.get(),  output == 0 ? scale.get() : nullptr,
            bias.get(),  thresholds.get(),
            flips.get(), output};
  }
};

bool Fail(const char* what, int64_t rows, const Weights& w) {
  printf("%s: xnor %s %d x %d x %d: wrong\n", kc_level_name(kc_level()), what,
         static_cast<int>(rows), static_cast<int>(w.inputs),
         static_cast<int>(w.units));
  return false;
}

bool Matmul(int64_t rows, int64_t inputs, int64_t units, bool masked,
            uint64_t seed) {
  uint64_t state = seed;
  const Weights w(inputs, units, masked, &state);
  const size_t size = static_cast<size_t>(rows * units);
  const std::unique_ptr<float[]> x(
      new float[static_cast<size_t>(rows * inputs)]);
  for (int64_t i = 0; i < rows * inputs; ++i) {
    x[i] = static_cast<float>(Next(&state) % 5) - 2.0f;
    if (x[i] == 0.0f && (Next(&state) & 1u)) x[i] = -0.0f;
  }
  const std::unique_ptr<uint32_t[]> packed(
      new uint32_t[static_cast<size_t>(rows * w.words)]);
  if (kc_xnor_pack(x.get(), rows, inputs, packed.get()) != 0) return false;
  std::vector<int32_t> sums(size);
  for (int64_t m = 0; m < rows; ++m) {
    for (int64_t u = 0; u < units; ++u) {
      for (int64_t i = 0; i < inputs; ++i) {
        sums[m * units + u] +=
            (x[m * inputs + i] < 0.0f ? -1 : 1) * w.Weight(u, i);
      }
    }
  }
  const std::unique_ptr<float[]> floats(new float[size]);
  const std::unique_ptr<int32_t[]> ints(new int32_t[size]);
  const int64_t out_words = (units + 31) / 32;
  const std::unique_ptr<uint32_t[]> bits(
      new uint32_t[static_cast<size_t>(rows * out_words)]);
  for (const int is_packed : {0, 1}) {
    const void* from = is_packed ? static_cast<const void*>(packed.get())
                                 : static_cast<const void*>(x.get());
    void* to[3] = {floats.get(), ints.get(), bits.get()};
    for (int64_t output = 0; output < 3; ++output) {
      const KcXnorLayer layer = w.Layer(output);
      if (kc_xnor_chain(&layer, 1, is_packed, from, rows, to[output]) != 0) {
        return Fail("result", rows, w);
      }
    }
    for (int64_t m = 0; m < rows; ++m) {
      for (int64_t u = 0; u < units; ++u) {
        const int32_t sum = sums[m * units + u];
        float value = static_cast<float>(sum) * w.scale[u];
        value += w.bias[u];
        const uint32_t bit = uint32_t{sum < w.thresholds[u]} ^
                             (w.flips[u / 32] >> (u % 32) & 1u);
        if (ints[m * units + u] != sum) return Fail("sums", rows, w);
        if (floats[m * units + u] != value) return Fail("floats", rows, w);
        if ((bits[m * out_words + u / 32] >> (u % 32) & 1u) != bit) {
          return Fail("bits", rows, w);
        }
      }
      if (units % 32 != 0 &&
          bits[m * out_words + units / 32] >> (units % 32) != 0) {
        return Fail("pad", rows, w);
      }
    }
  }
  return true;
}

bool Chain(int64_t rows, uint64_t seed) {
  uint64_t state = seed;
  const Weights one(70, 40, false, &state);
  const Weights two(40, 33, true, &state);
  const std::unique_ptr<float[]> x(new float[static_cast<size_t>(rows * 70)]);
  for (int64_t i = 0; i < rows * 70; ++i) x[i] = Next(&state) & 1u ? 1 : -1;
  const std::unique_ptr<uint32_t[]> bits(
      new uint32_t[static_cast<size_t>(rows * 2)]);
  const size_t size = static_cast<size_t>(rows * 33);
  const std::unique_ptr<int32_t[]> apart(new int32_t[size]);
  const std::unique_ptr<int32_t[]> whole(new int32_t[size]);
  const KcXnorLayer layers[2] = {one.Layer(2), two.Layer(1)};
  kc_xnor_chain(&layers[0], 1, 0, x.get(), rows, bits.get());
  kc_xnor_chain(&layers[1], 1, 1, bits.get(), rows, apart.get());
  kc_xnor_chain(layers, 2, 0, x.get(), rows, whole.get());
  for (size_t i = 0; i < size; ++i) {
    if (apart[i] != whole[i]) return Fail("chain", rows, two);
  }
  return true;
}

// Every task exactly once, whoever else calls.
bool Pool() {
  std::atomic<bool> good{true};
  std::vector<std::thread> callers;
  for (int t = 0; t < 3; ++t) {
    callers.emplace_back([&good, t] {
      for (int call = 0; call < 200; ++call) {
        std::vector<int> done(static_cast<size_t>(1 + (call * 7 + t) % 23));
        keras_compress::RunTasks(static_cast<int64_t>(done.size()),
                                 [&](int64_t i) { done[i] += 1 + call; });
        for (const int times : done) {
          if (times != 1 + call) good = false;
        }
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  if (!good) printf("pool: wrong\n");
  return good;
}

}  // namespace

bool EveryXnor(uint64_t seed) {
  bool good = true;
  kc_set_threads(3);
  for (const int64_t rows : {0, 1, 2, 3, 4, 5, 7, 9}) {
    for (const int64_t inputs : {1, 31, 32, 33, 64, 95, 130, 1100}) {
      for (const int64_t units : {0, 1, 15, 16, 17, 33, 64, 65, 100}) {
        if (inputs == 1100 && units != 17 && units != 65) continue;
        for (const bool masked : {false, true}) {
          good &= Matmul(rows, inputs, units, masked, ++seed);
        }
      }
    }
    good &= Chain(rows, ++seed);
  }
  good &= Matmul(70, 520, 500, true, ++seed);    // large enough for the pool
  good &= Matmul(70, 1000, 130, false, ++seed);  // several blocks of tables
  good &= Pool();
  return good;
}
