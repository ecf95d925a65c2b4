// The convolutions and the pooling of packed signs, for sanitize_main.cc.
#include <stdint.h>
#include <stdio.h>

#include <memory>
#include <vector>

#include "conv_geometry.h"
#include "dispatch.h"
#include "worker_pool.h"
#include "xnor_api.h"

namespace {

using keras_compress::ConvGeometry;

uint32_t Next(uint64_t* state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return static_cast<uint32_t>(*state >> 32);
}

template <class T>
std::unique_ptr<T[]> Block(int64_t size) {
  return std::unique_ptr<T[]>(new T[static_cast<size_t>(size)]());
}

// Blocks of their own of exactly the right size.
struct Weights {
  int64_t taps, channels, units, words;
  std::unique_ptr<uint32_t[]> signs, masks, flips;
  std::unique_ptr<int32_t[]> kept, thresholds;

  Weights(const ConvGeometry& g, int64_t n, bool masked, uint64_t* state)
      : taps(g.kernel_height * g.kernel_width),
        channels(g.channels),
        units(n),
        words((g.channels + 31) / 32),
        signs(Block<uint32_t>((n + 15) / 16 * taps * words * 16)),
        masks(Block<uint32_t>(masked ? (n + 15) / 16 * taps * words * 16 : 0)),
        flips(Block<uint32_t>((n + 31) / 32)),
        kept(Block<int32_t>(n)),
        thresholds(Block<int32_t>(n)) {
    if (!masked) masks.reset();
    for (int64_t u = 0; u < n; ++u) {
      thresholds[u] = static_cast<int32_t>(Next(state) % 9) - 4;
      flips[u / 32] |= (Next(state) & 1u) << (u % 32);
      for (int64_t t = 0; t < taps; ++t) {
        for (int64_t c = 0; c < channels; ++c) {
          const bool keep = !masked || Next(state) % 3 != 0;
          const uint32_t bit = 1u << (c % 32);
          if (keep && (Next(state) & 1u)) signs[At(u, t, c)] |= bit;
          if (keep && masked) masks[At(u, t, c)] |= bit;
          kept[u] += keep;
        }
      }
    }
  }

  size_t At(int64_t u, int64_t t, int64_t c) const {
    return static_cast<size_t>(((u / 16 * taps + t) * words + c / 32) * 16 +
                               u % 16);
  }
  int32_t Weight(int64_t u, int64_t t, int64_t c) const {
    if (masks && (masks[At(u, t, c)] >> (c % 32) & 1u) == 0) return 0;
    return (signs[At(u, t, c)] >> (c % 32) & 1u) != 0 ? -1 : 1;
  }
  KcXnorLayer Layer(int64_t output) const {
    return {taps * channels, units,   signs.get(),      masks.get(), kept.get(),
            nullptr,         nullptr, thresholds.get(), flips.get(), output};
  }
};

bool Fail(const char* what, const ConvGeometry& g, int64_t units) {
  printf("%s: xnor conv2d %s %d x %d x %d -> %d: wrong\n",
         kc_level_name(kc_level()), what, static_cast<int>(g.height),
         static_cast<int>(g.width), static_cast<int>(g.channels),
         static_cast<int>(units));
  return false;
}

int32_t Sum(const ConvGeometry& g, const Weights& w, const float* images,
            bool zeros, int64_t window, int64_t u) {
  const int64_t x = window % g.out_width;
  const int64_t y = window / g.out_width % g.out_height;
  const int64_t image = window / g.out_width / g.out_height;
  int32_t sum = 0;
  for (int64_t t = 0; t < w.taps; ++t) {
    const int64_t from_y = y * g.stride_height - g.pad_top +
                           t / g.kernel_width * g.dilation_height;
    const int64_t from_x =
        x * g.stride_width - g.pad_left + t % g.kernel_width * g.dilation_width;
    const bool inside =
        from_y >= 0 && from_y < g.height && from_x >= 0 && from_x < g.width;
    if (!inside && zeros) continue;
    const float* pixel =
        images + ((image * g.height + from_y) * g.width + from_x) * g.channels;
    for (int64_t c = 0; c < g.channels; ++c) {
      const bool negative = inside && pixel[c] < 0.0f;
      sum += negative ? -w.Weight(u, t, c) : w.Weight(u, t, c);
    }
  }
  return sum;
}

bool Conv2d(const int64_t (&geometry)[14], int64_t units, bool masked,
            bool zeros, uint64_t seed) {
  uint64_t state = seed;
  const ConvGeometry g = ConvGeometry::Of(geometry);
  const Weights w(g, units, masked, &state);
  const int64_t pixels = g.batch * g.height * g.width;
  const auto images = Block<float>(pixels * g.channels);
  for (int64_t i = 0; i < pixels * g.channels; ++i) {
    images[i] = static_cast<float>(Next(&state) % 5) - 2.0f;
  }
  const auto packed = Block<uint32_t>(pixels * w.words);
  if (kc_xnor_pack(images.get(), pixels, g.channels, packed.get()) != 0) {
    return false;
  }
  const int64_t windows = g.batch * g.out_height * g.out_width;
  const int64_t words = (units + 31) / 32;
  for (const int is_packed : {0, 1}) {
    const auto sums = Block<int32_t>(windows * units);
    const auto bits = Block<uint32_t>(windows * words);
    const void* from = is_packed ? static_cast<const void*>(packed.get())
                                 : static_cast<const void*>(images.get());
    const KcXnorLayer layers[2] = {w.Layer(1), w.Layer(2)};
    if (kc_xnor_conv2d(&layers[0], geometry, zeros, is_packed, from,
                       sums.get()) != 0 ||
        kc_xnor_conv2d(&layers[1], geometry, zeros, is_packed, from,
                       bits.get()) != 0) {
      return Fail("result", g, units);
    }
    for (int64_t m = 0; m < windows; ++m) {
      for (int64_t u = 0; u < units; ++u) {
        const int32_t sum = Sum(g, w, images.get(), zeros, m, u);
        const uint32_t bit = uint32_t{sum < w.thresholds[u]} ^
                             (w.flips[u / 32] >> (u % 32) & 1u);
        if (sums[m * units + u] != sum) return Fail("sums", g, units);
        if ((bits[m * words + u / 32] >> (u % 32) & 1u) != bit) {
          return Fail("bits", g, units);
        }
      }
    }
  }
  return true;
}

bool Pool(const int64_t (&geometry)[14], uint64_t seed) {
  uint64_t state = seed;
  const ConvGeometry g = ConvGeometry::Of(geometry);
  const int64_t size = g.batch * g.height * g.width * g.channels;
  const auto words = Block<uint32_t>(size);
  const auto flips = Block<uint32_t>(g.channels);
  for (int64_t i = 0; i < size; ++i) words[i] = Next(&state) | Next(&state);
  for (int64_t i = 0; i < g.channels; ++i) flips[i] = Next(&state);
  const int64_t windows = g.batch * g.out_height * g.out_width;
  const auto pooled = Block<uint32_t>(windows * g.channels);
  if (kc_xnor_pool(words.get(), geometry, flips.get(), pooled.get()) != 0) {
    return Fail("pool", g, 0);
  }
  for (int64_t m = 0; m < windows; ++m) {
    for (int64_t c = 0; c < g.channels; ++c) {
      uint32_t all = ~uint32_t{0};
      for (int64_t t = 0; t < g.kernel_height * g.kernel_width; ++t) {
        const int64_t y = m / g.out_width % g.out_height * g.stride_height -
                          g.pad_top + t / g.kernel_width;
        const int64_t x =
            m % g.out_width * g.stride_width - g.pad_left + t % g.kernel_width;
        if (y < 0 || y >= g.height || x < 0 || x >= g.width) continue;
        const int64_t image = m / g.out_width / g.out_height;
        all &= words[((image * g.height + y) * g.width + x) * g.channels + c] ^
               flips[c];
      }
      if (pooled[m * g.channels + c] != (all ^ flips[c])) {
        return Fail("pooled", g, 0);
      }
    }
  }
  return true;
}

}  // namespace

bool EveryXnorConv2d(uint64_t seed) {
  bool good = true;
  kc_set_threads(3);
  for (const int64_t channels : {1, 32, 33, 70}) {
    for (const int64_t units : {1, 16, 33, 65}) {
      for (const bool masked : {false, true}) {
        for (const bool zeros : {false, true}) {
          for (const int64_t d : {1, 2}) {
            const int64_t same[14] = {2, 5, 6, channels, 3, 3, 1,
                                      1, d, d, d,        d, 5, 6};
            good &= Conv2d(same, units, masked, zeros, ++seed);
          }
          const int64_t strided[14] = {3, 5, 4, channels, 2, 3, 2,
                                       3, 1, 1, 0,        1, 3, 2};
          good &= Conv2d(strided, units, masked, zeros, ++seed);
        }
      }
    }
    const int64_t pool[14] = {2, 5, 6, channels, 3, 2, 2, 2, 1, 1, 1, 0, 3, 3};
    good &= Pool(pool, ++seed);
    const int64_t rest[14] = {2, 5, 7, channels, 2, 2, 2, 2, 1, 1, 0, 0, 2, 3};
    good &= Pool(rest, ++seed);
  }
  // Large enough for the pool of threads: one image, and many.
  const int64_t one[14] = {1, 20, 18, 64, 3, 3, 1, 1, 1, 1, 1, 1, 20, 18};
  good &= Conv2d(one, 100, false, true, ++seed);
  const int64_t many[14] = {9, 9, 9, 64, 3, 3, 1, 1, 1, 1, 1, 1, 9, 9};
  good &= Conv2d(many, 60, true, true, ++seed);
  return good;
}
