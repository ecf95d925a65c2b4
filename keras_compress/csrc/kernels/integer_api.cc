// Checks integer products, finds memory, and shares them out to threads.
#include "integer_api.h"

#include <atomic>
#include <cmath>

#include "dispatch.h"
#include "scratch.h"
#include "worker_pool.h"

#define KC_EXPORT __attribute__((visibility("default")))

namespace keras_compress {
namespace {

// Multiplications that one thread does while a second one wakes up.
constexpr int64_t kAlone = int64_t{1} << 22;
// Panels that the widest tile takes.
constexpr int64_t kGroupPanels = 4;

// Blocks in the order of their panels, each of inputs that there are.
bool ValidBlocks(const KcIntegerProduct& p) {
  const int64_t panels = (p.units + kIntegerPanel - 1) / kIntegerPanel;
  if (p.bits != 8 || p.blocks < 0 || p.starts[0] != 0 ||
      p.starts[panels] != p.blocks || (p.blocks > 0 && p.indices == nullptr)) {
    return false;
  }
  for (int64_t i = 0; i < panels; ++i) {
    if (p.starts[i] > p.starts[i + 1]) return false;
  }
  // Signed numbers in the same order, of which every machine finds the largest.
  int16_t last = INT16_MIN;
  for (int64_t i = 0; i < p.blocks; ++i) {
    const int16_t index = static_cast<int16_t>(p.indices[i] ^ 0x8000);
    last = index > last ? index : last;
  }
  return p.blocks == 0 || last + 0x8000 < (p.inputs + 3) / 4;
}

bool Valid(const KcIntegerProduct& p) {
  const bool kinds =
      p.row_kind >= kIntegerFloat && p.row_kind <= kInteger16 &&
      p.row_kind != kInteger32 && p.output_kind >= kIntegerFloat &&
      p.output_kind <= kInteger16 && p.rounding >= 0 && p.rounding <= kFloor &&
      p.output_rounding >= 0 && p.output_rounding <= kFloor;
  // 16 times as large, weights of 4 bits must leave room in 32 bits.
  if (!kinds || p.inputs < 0 || p.inputs > INT32_MAX / 4 || p.units < 0 ||
      (p.bits != 16 && p.bits != 8 && p.bits != 4) ||
      (p.bits == 4 && p.inputs > 65536) || p.low > p.high ||
      p.low < INT16_MIN || p.high > INT16_MAX || p.fraction < -126 ||
      p.fraction > 126 || p.output_low > p.output_high ||
      p.output_low < INT32_MIN || p.output_high > INT32_MAX) {
    return false;
  }
  if (p.units == 0) return true;
  const bool empty = p.starts == nullptr ? p.inputs == 0 : p.blocks == 0;
  if (p.column_sums == nullptr || p.bias == nullptr ||
      (!empty && p.panels == nullptr) ||
      (p.requantize != 0 && p.shifts == nullptr) ||
      (p.output_kind == kIntegerFloat && p.scales == nullptr)) {
    return false;
  }
  if (p.starts != nullptr && !ValidBlocks(p)) return false;
  if (p.requantize != 0) {
    for (int64_t n = 0; n < p.units; ++n) {
      if (p.shifts[n] < -30 || p.shifts[n] > 30) return false;
    }
  }
  return true;
}

bool Prepare(const IntegerKernels& kernels, const IntegerRows& rows,
             int64_t inputs, int64_t count, void* prepared) {
  const int64_t tile = kernels.tile_rows;
  const int64_t block = ((int64_t{1} << 17) / (inputs + 1) / tile + 1) * tile;
  if (count <= 2 * block) {
    return kernels.prepare(&rows, inputs, 0, count, prepared);
  }
  std::atomic<bool> good{true};
  RunTasks((count + block - 1) / block, [&](int64_t i) {
    const int64_t end = (i + 1) * block < count ? (i + 1) * block : count;
    if (!kernels.prepare(&rows, inputs, i * block, end, prepared)) good = false;
  });
  return good;
}

// Groups of panels go to threads, and blocks of rows where there are too few.
void Product(const IntegerKernels& kernels, const IntegerWeights& weights,
             const IntegerRows& rows, const void* prepared, int64_t count,
             const IntegerOutput& output) {
  const int64_t panels = (weights.units + kIntegerPanel - 1) / kIntegerPanel;
  const int64_t threads = kc_threads();
  if (threads == 1 ||
      count * (weights.inputs + 1) < kAlone / (weights.units + 1)) {
    kernels.product(&weights, prepared, &rows, &output, 0, count, 0, panels);
    return;
  }
  const int64_t groups = (panels + kGroupPanels - 1) / kGroupPanels;
  const int64_t parts = 4 * threads;  // some threads may start late
  const int64_t columns = groups < parts ? groups : parts;
  const int64_t tile = kernels.tile_rows;
  const int64_t tiles = (count + tile - 1) / tile;
  int64_t blocks = columns >= parts ? 1 : parts / columns;
  if (blocks > tiles) blocks = tiles;
  RunTasks(columns * blocks, [&](int64_t i) {
    const int64_t column = i / blocks;
    const int64_t block = i % blocks;
    const int64_t first = tiles * block / blocks * tile;
    const int64_t last = tiles * (block + 1) / blocks * tile;
    const int64_t end = groups * (column + 1) / columns * kGroupPanels;
    kernels.product(
        &weights, prepared, &rows, &output, first, last < count ? last : count,
        groups * column / columns * kGroupPanels, end < panels ? end : panels);
  });
}

}  // namespace
}  // namespace keras_compress

KC_EXPORT int kc_integer_matmul(const KcIntegerProduct* product,
                                const void* rows, int64_t count,
                                void* outputs) {
  using namespace keras_compress;
  if (count < 0 || !Valid(*product)) return KC_INTEGER_ARGUMENT;
  if (count == 0 || product->units == 0) return KC_INTEGER_OK;
  const KcIntegerProduct& p = *product;
  const IntegerKernels* chosen = ActiveLevel().integer;
  const IntegerKernels* special = p.starts != nullptr ? chosen->blocks
                                  : p.bits == 16      ? chosen->words
                                                      : nullptr;
  const IntegerKernels& kernels = special == nullptr ? *chosen : *special;
  const bool bytes = p.row_kind == kInteger8 || p.row_kind == kIntegerUnsigned8;
  // What fits neither kind of byte; of floats, by their limits.
  const bool narrow =
      bytes ||
      (p.row_kind == kIntegerFloat &&
       ((p.low >= -128 && p.high <= 127) || (p.low >= 0 && p.high <= 255)));
  const IntegerRows given = {static_cast<int>(p.row_kind),
                             rows,
                             count,
                             static_cast<int>(p.rounding),
                             std::ldexp(1.0f, static_cast<int>(p.fraction)),
                             static_cast<float>(p.low),
                             static_cast<float>(p.high),
                             !narrow};
  const IntegerWeights weights = {
      p.inputs,  p.units,       static_cast<int>(p.bits),
      p.panels,  p.column_sums, p.bias,
      p.indices, p.starts};
  const IntegerOutput output = {static_cast<int>(p.output_kind),
                                p.requantize != 0,
                                static_cast<int>(p.output_rounding),
                                static_cast<int32_t>(p.output_low),
                                static_cast<int32_t>(p.output_high),
                                p.shifts,
                                p.scales,
                                outputs};
  thread_local Scratch scratch;
  const int64_t row_bytes = kernels.row_bytes(p.inputs, given.wide);
  const int64_t tile = kernels.tile_rows;
  const int64_t whole = (count + tile - 1) / tile * tile;
  void* prepared = scratch.Get<uint8_t>(whole * row_bytes + 64);
  if (prepared == nullptr) return KC_INTEGER_MEMORY;
  if (!Prepare(kernels, given, p.inputs, count, prepared)) {
    return KC_INTEGER_NAN;
  }
  Product(kernels, weights, given, prepared, count, output);
  return KC_INTEGER_OK;
}
