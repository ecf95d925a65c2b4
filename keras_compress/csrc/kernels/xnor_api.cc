// Checks products of packed signs, finds memory, and shares them out to
// threads.
#include "xnor_api.h"

#include <atomic>

#include "dispatch.h"
#include "scratch.h"
#include "worker_pool.h"
#include "xnor_tasks.h"

#define KC_EXPORT __attribute__((visibility("default")))

namespace keras_compress {
namespace {

// Signs times units that one thread does while a second one wakes up.
constexpr int64_t kAlone = int64_t{1} << 24;
// A group of units is what the widest tile takes: 4 panels.
constexpr int64_t kGroupPanels = 4;
// Outputs of so many bytes do not stay in the caches until they are read.
constexpr int64_t kStreamBytes = int64_t{4} << 20;

}  // namespace

uint32_t* ThreadScratch(int which, int64_t words) {
  thread_local Scratch blocks[kScratches];
  return blocks[which].Get<uint32_t>(words);
}

bool PackRows(const XnorKernels& kernels, const float* inputs, int64_t rows,
              int64_t width, uint32_t* words) {
  // Packing is a stream from memory: worth a second thread from 1 MB on.
  const int64_t block = (int64_t{1} << 17) / (width + 1) + 1;
  if (rows <= 2 * block) return kernels.pack(inputs, rows, width, words);
  std::atomic<bool> numbers{true};
  RunTasks((rows + block - 1) / block, [&](int64_t i) {
    const int64_t row = i * block;
    const int64_t count = rows - row < block ? rows - row : block;
    if (!kernels.pack(inputs + row * width, count, width,
                      words + row * Words(width))) {
      numbers = false;
    }
  });
  return numbers;
}

// Groups of panels go to threads, and blocks of rows where there are too few.
void ShareProduct(const XnorKernels& kernels, const XnorWeights& weights,
                  const XnorRows& rows, int64_t count,
                  const XnorOutput& output) {
  const int64_t panels = (weights.units + kPanelUnits - 1) / kPanelUnits;
  const int64_t threads = kc_threads();
  const int64_t signs = weights.segments * weights.words * 32;
  if (threads == 1 || count * signs < kAlone / (weights.units + 1)) {
    kernels.product(&weights, &rows, &output, 0, count, 0, panels);
    return;
  }
  const int64_t groups = (panels + kGroupPanels - 1) / kGroupPanels;
  const int64_t parts = 4 * threads;  // some threads may start late
  const int64_t columns = groups < parts ? groups : parts;
  int64_t blocks = columns >= parts ? 1 : parts / columns;
  if (blocks > (count + 5) / 6) blocks = (count + 5) / 6;
  RunTasks(columns * blocks, [&](int64_t i) {
    const int64_t column = i / blocks;
    const int64_t block = i % blocks;
    const int64_t end = groups * (column + 1) / columns * kGroupPanels;
    kernels.product(&weights, &rows, &output, count * block / blocks,
                    count * (block + 1) / blocks,
                    groups * column / columns * kGroupPanels,
                    end < panels ? end : panels);
  });
}

bool ValidLayer(const KcXnorLayer& layer) {
  if (layer.inputs < 0 || layer.inputs > INT32_MAX || layer.units < 0 ||
      layer.output < kXnorFloats || layer.output > kXnorBits) {
    return false;
  }
  if (layer.units == 0) return true;
  if (layer.kept == nullptr || (layer.inputs > 0 && layer.signs == nullptr)) {
    return false;
  }
  return layer.output != kXnorBits ||
         (layer.thresholds != nullptr && layer.flips != nullptr);
}

bool Streams(int kind, int64_t units, int64_t rows, const void* outputs) {
  return kind == kXnorFloats && units % kPanelUnits == 0 &&
         reinterpret_cast<uintptr_t>(outputs) % 64 == 0 &&
         rows * units * 4 >= kStreamBytes;
}

namespace {

bool ValidChain(const KcXnorLayer* layers, int64_t count) {
  if (count < 1) return false;
  for (int64_t i = 0; i < count; ++i) {
    if (!ValidLayer(layers[i])) return false;
    if (i + 1 < count && (layers[i].output != kXnorBits ||
                          layers[i].units != layers[i + 1].inputs)) {
      return false;
    }
  }
  return true;
}

void Layer(const XnorKernels& kernels, const KcXnorLayer& layer,
           const uint32_t* words, int64_t rows, void* outputs) {
  const int64_t all = Words(layer.inputs);
  const XnorWeights weights = {layer.inputs, layer.units, 1,         all, all,
                               layer.signs,  layer.masks, layer.kept};
  const XnorRows dense = {words, nullptr, nullptr, nullptr};
  const int kind = static_cast<int>(layer.output);
  const XnorOutput output = {kind,
                             Streams(kind, layer.units, rows, outputs),
                             layer.scale,
                             layer.bias,
                             layer.thresholds,
                             layer.flips,
                             outputs};
  ShareProduct(kernels, weights, dense, rows, output);
}

}  // namespace
}  // namespace keras_compress

KC_EXPORT int kc_xnor_pack(const float* inputs, int64_t rows, int64_t width,
                           uint32_t* words) {
  using namespace keras_compress;
  if (rows < 0 || width < 0) return KC_XNOR_ARGUMENT;
  return PackRows(*ActiveLevel().xnor, inputs, rows, width, words)
             ? KC_XNOR_OK
             : KC_XNOR_NAN;
}

KC_EXPORT int kc_xnor_chain(const KcXnorLayer* layers, int64_t count,
                            int packed, const void* inputs, int64_t rows,
                            void* outputs) {
  using namespace keras_compress;
  if (rows < 0 || !ValidChain(layers, count)) return KC_XNOR_ARGUMENT;
  if (rows == 0) return KC_XNOR_OK;
  const XnorKernels& kernels = *ActiveLevel().xnor;
  const uint32_t* words = static_cast<const uint32_t*>(inputs);
  if (packed == 0) {
    uint32_t* made = ThreadScratch(1, rows * Words(layers[0].inputs));
    if (made == nullptr) return KC_XNOR_MEMORY;
    if (!PackRows(kernels, static_cast<const float*>(inputs), rows,
                  layers[0].inputs, made)) {
      return KC_XNOR_NAN;
    }
    words = made;
  }
  for (int64_t i = 0; i < count; ++i) {
    void* to = outputs;
    if (i + 1 < count) {
      to =
          ThreadScratch(static_cast<int>(i % 2), rows * Words(layers[i].units));
      if (to == nullptr) return KC_XNOR_MEMORY;
    }
    Layer(kernels, layers[i], words, rows, to);
    words = static_cast<const uint32_t*>(to);
  }
  return KC_XNOR_OK;
}
