// Networks of packed signs as a whole, for sanitize_main.cc: they are their
// stages one after another, in blocks of exactly the right size.
#include <stdint.h>
#include <stdio.h>

#include <memory>
#include <vector>

#include "dispatch.h"
#include "worker_pool.h"
#include "xnor_network.h"

namespace {

uint32_t Next(uint64_t* state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return static_cast<uint32_t>(*state >> 32);
}

template <class T>
std::unique_ptr<T[]> Block(int64_t size) {
  return std::unique_ptr<T[]>(new T[static_cast<size_t>(size)]());
}

struct Arrays {
  std::unique_ptr<uint32_t[]> signs, flips;
  std::unique_ptr<int32_t[]> kept, thresholds;
};

// A stage of random arrays; `words` are those of a unit.
KcXnorStage Stage(int64_t kind, int64_t inputs, int64_t words, int64_t units,
                  int64_t output, Arrays* a, uint64_t* state) {
  const int64_t signs = (units + 15) / 16 * words * 16;
  a->signs = Block<uint32_t>(signs);
  a->flips = Block<uint32_t>((units + 31) / 32);
  a->kept = Block<int32_t>(units);
  a->thresholds = Block<int32_t>(units);
  const int64_t tail = inputs / (words > 0 ? words : 1);
  for (int64_t i = 0; i < signs; ++i) {
    // No bits behind the last input: words here are full, or the only one.
    a->signs[i] = Next(state) & (tail >= 32 ? ~0u : (1u << tail) - 1);
  }
  for (int64_t n = 0; n < units; ++n) {
    a->flips[n / 32] |= (Next(state) & 1u) << (n % 32);
    a->kept[n] = static_cast<int32_t>(inputs);
    a->thresholds[n] = static_cast<int32_t>(Next(state) % 9) - 4;
  }
  KcXnorStage stage = {};
  stage.kind = kind;
  stage.layer = {inputs,         units,   a->signs.get(), nullptr,
                 a->kept.get(),  nullptr, nullptr,        a->thresholds.get(),
                 a->flips.get(), output};
  stage.window[0] = stage.window[1] = 1;
  stage.strides[0] = stage.strides[1] = 1;
  stage.dilations[0] = stage.dilations[1] = 1;
  return stage;
}

bool Fail(const char* what, int64_t batch) {
  printf("%s: xnor network %s, batch %d: wrong\n", kc_level_name(kc_level()),
         what, static_cast<int>(batch));
  return false;
}

// A convolution with zeros around, a pooling, a border, a strided convolution,
// and two products of the row that is left.
bool Network(int64_t batch, int64_t size, uint64_t seed) {
  uint64_t state = seed;
  Arrays arrays[6];
  const int64_t half = (size + 1) / 2;
  const int64_t left = (half + 3 - 2) / 2 + 1;
  std::vector<KcXnorStage> stages(7);
  stages[0] = Stage(KC_XNOR_CONVOLUTION, 9 * 3, 9, 64, 2, &arrays[0], &state);
  stages[0].channels = 3;
  stages[0].window[0] = stages[0].window[1] = 3;
  stages[0].same = stages[0].zeros = 1;
  stages[1] = Stage(KC_XNOR_POOLING, 64, 0, 64, 2, &arrays[1], &state);
  stages[1].window[0] = stages[1].window[1] = 2;
  stages[1].strides[0] = stages[1].strides[1] = 2;
  stages[1].same = 1;
  stages[1].channels = 2;
  stages[2].kind = KC_XNOR_BORDER;
  stages[2].border[0] = stages[2].border[3] = 1;
  stages[2].border[1] = stages[2].border[2] = 2;
  stages[3] = Stage(KC_XNOR_CONVOLUTION, 4 * 64, 8, 33, 2, &arrays[2], &state);
  stages[3].channels = 64;
  stages[3].window[0] = stages[3].window[1] = 2;
  stages[3].strides[0] = stages[3].strides[1] = 2;
  stages[4].kind = KC_XNOR_FLATTEN;
  stages[5] = Stage(KC_XNOR_PRODUCT, left * left * 64, left * left * 2, 70, 2,
                    &arrays[3], &state);
  // The second word of a pixel has one bit.
  for (int64_t i = 0; i < (70 + 15) / 16 * left * left * 2; ++i) {
    for (int64_t n = 0; n < 16 && i % 2 == 1; ++n) {
      arrays[3].signs[i * 16 + n] &= 1;
    }
  }
  stages[6] = Stage(KC_XNOR_PRODUCT, 70, 3, 10, 1, &arrays[4], &state);
  for (int64_t i = 2; i < 3 * 1; i += 3) {
    for (int64_t n = 0; n < 16; ++n) arrays[4].signs[i * 16 + n] &= 63;
  }
  const int64_t images[4] = {batch, size, size, 3};
  const auto inputs = Block<float>(batch * size * size * 3);
  for (int64_t i = 0; i < batch * size * size * 3; ++i) {
    inputs[i] = Next(&state) & 1u ? 1.0f : -1.0f;
  }
  // Alone, each on what the one before it gave.
  std::unique_ptr<uint32_t[]> words;
  int64_t sizes[4] = {batch, size, size, 3};
  for (size_t i = 0; i < stages.size(); ++i) {
    int64_t after[4];
    if (stages[i].kind == KC_XNOR_FLATTEN) {
      sizes[3] *= sizes[1] * sizes[2];
      sizes[1] = sizes[2] = 1;
      continue;
    }
    if (kc_xnor_network_sizes(&stages[i], 1, i > 0, sizes, after) != -1) {
      return Fail("sizes", batch);
    }
    auto made = Block<uint32_t>(after[0] * after[1] * after[2] * after[3]);
    const void* from = i > 0 ? static_cast<const void*>(words.get())
                             : static_cast<const void*>(inputs.get());
    if (kc_xnor_network(&stages[i], 1, i > 0, from, sizes, made.get()) != 0) {
      return Fail("stage", batch);
    }
    words = std::move(made);
    for (int k = 0; k < 4; ++k) sizes[k] = after[k];
  }
  int64_t last[4];
  const int64_t count = static_cast<int64_t>(stages.size());
  if (kc_xnor_network_sizes(stages.data(), count, 0, images, last) != -1 ||
      last[0] != batch || last[1] != 1 || last[2] != 1 || last[3] != 10) {
    return Fail("whole sizes", batch);
  }
  const auto whole = Block<uint32_t>(batch * 10);
  if (kc_xnor_network(stages.data(), count, 0, inputs.get(), images,
                      whole.get()) != 0) {
    return Fail("result", batch);
  }
  for (int64_t i = 0; i < batch * 10; ++i) {
    if (whole[i] != words[i]) return Fail("outputs", batch);
  }
  // What does not follow is told by its place.
  stages[3].channels = 65;
  if (kc_xnor_network_sizes(stages.data(), count, 0, images, last) != 3) {
    return Fail("refusal", batch);
  }
  return true;
}

}  // namespace

bool EveryXnorNetwork(uint64_t seed) {
  bool good = true;
  kc_set_threads(3);
  for (const int64_t batch : {0, 1, 2, 5}) {
    for (const int64_t size : {2, 5, 8}) good &= Network(batch, size, ++seed);
  }
  good &= Network(300, 24, ++seed);  // several blocks of images
  return good;
}
