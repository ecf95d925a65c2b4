// The bits of levels behind checks, on several threads.
#include <stdint.h>

#include "dispatch.h"
#include "worker_pool.h"

#define KC_EXPORT __attribute__((visibility("default")))

KC_EXPORT int kc_level_bits(const float* inputs, int64_t count,
                            const float* limits, int64_t limit_count,
                            const float* words, int64_t length,
                            float* outputs) {
  using namespace keras_compress;
  if (count < 0 || length < 1 || limit_count < 0 || limit_count >= INT32_MAX) {
    return 3;
  }
  const LevelTable table = {limits, limit_count, words, length};
  const LevelBitsKernel kernel = ActiveLevel().level_bits;
  // A task is worth waking somebody up.
  const int64_t block = (int64_t{1} << 15) / (length + 4) + 1;
  RunTasks((count + block - 1) / block, [&](int64_t task) {
    const int64_t first = task * block;
    const int64_t some = count - first < block ? count - first : block;
    kernel(&table, inputs + first, some, outputs + first * length);
  });
  return 0;
}
