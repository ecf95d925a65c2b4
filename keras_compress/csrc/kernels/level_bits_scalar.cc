// The reference of the bits of levels: plain loops, no cleverness.
#include "level_bits.h"

namespace keras_compress {
namespace {

void Words(const LevelTable* table, const float* inputs, int64_t count,
           float* outputs) {
  for (int64_t i = 0; i < count; ++i) {
    int64_t level = 0;
    while (level < table->count && inputs[i] >= table->limits[level]) ++level;
    if (inputs[i] != inputs[i]) level = table->count + 1;
    for (int64_t k = 0; k < table->length; ++k) {
      *outputs++ = table->words[level * table->length + k];
    }
  }
}

}  // namespace

LevelBitsKernel LevelBitsScalar() { return Words; }

}  // namespace keras_compress
