// The bits of levels, compiled for AVX2.
#include <stdint.h>
#include <string.h>

#include "level_bits.h"

namespace keras_compress {
namespace {

#include "level_bits_lanes.h"

}  // namespace

LevelBitsKernel LevelBitsAvx2() { return Words; }

}  // namespace keras_compress
