// Pooling of packed signs: the maximum is an AND, or an OR where bits are
// turned.
#include <string.h>

#include <atomic>

#include "conv_geometry.h"
#include "worker_pool.h"
#include "xnor_tasks.h"

#define KC_EXPORT __attribute__((visibility("default")))

namespace keras_compress {
namespace {

// One line of pooled words: first over lines, then along the line.
void PoolLine(const ConvGeometry& g, const uint32_t* image,
              const uint32_t* flips, int64_t y, uint32_t* line, uint32_t* to) {
  const int64_t words = g.width * g.channels;
  memset(line, 0xff, static_cast<size_t>(words) * 4);
  for (int64_t i = 0; i < g.kernel_height; ++i) {
    const int64_t from =
        y * g.stride_height - g.pad_top + i * g.dilation_height;
    if (from < 0 || from >= g.height) continue;
    const uint32_t* row = image + from * words;
    for (int64_t k = 0; k < words; ++k) line[k] &= row[k] ^ flips[k];
  }
  for (int64_t x = 0; x < g.out_width; ++x, to += g.channels) {
    for (int64_t c = 0; c < g.channels; ++c) to[c] = ~uint32_t{0};
    for (int64_t j = 0; j < g.kernel_width; ++j) {
      const int64_t from =
          x * g.stride_width - g.pad_left + j * g.dilation_width;
      if (from < 0 || from >= g.width) continue;
      const uint32_t* pixel = line + from * g.channels;
      for (int64_t c = 0; c < g.channels; ++c) to[c] &= pixel[c];
    }
    for (int64_t c = 0; c < g.channels; ++c) to[c] ^= flips[c];
  }
}

}  // namespace
}  // namespace keras_compress

KC_EXPORT int kc_xnor_pool(const uint32_t* images, const int64_t* geometry,
                           const uint32_t* flips, uint32_t* outputs) {
  using namespace keras_compress;
  const ConvGeometry g = ConvGeometry::Of(geometry);
  if (!g.Valid()) return KC_XNOR_ARGUMENT;
  const int64_t words = g.width * g.channels;
  // A line of flips is the same for all, a line of results is each thread's.
  uint32_t* repeated = ThreadScratch(kTableScratch, words);
  if (repeated == nullptr) return KC_XNOR_MEMORY;
  for (int64_t k = 0; k < words; ++k) repeated[k] = flips[k % g.channels];
  const int64_t lines = g.batch * g.out_height;
  const int64_t block = (int64_t{1} << 16) / (words * g.kernel_height + 1) + 1;
  std::atomic<int> result{KC_XNOR_OK};
  RunTasks((lines + block - 1) / block, [&](int64_t task) {
    uint32_t* line = ThreadScratch(kImageScratch, words);
    if (line == nullptr) {
      result = KC_XNOR_MEMORY;
      return;
    }
    const int64_t end = (task + 1) * block < lines ? (task + 1) * block : lines;
    for (int64_t i = task * block; i < end; ++i) {
      PoolLine(g, images + i / g.out_height * g.height * words, repeated,
               i % g.out_height, line, outputs + i * g.out_width * g.channels);
    }
  });
  return result;
}
