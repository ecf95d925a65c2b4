// Follows the sizes of images through a network, and runs it stage by stage.
#include "xnor_network.h"

#include <string.h>

#include "conv_geometry.h"
#include "xnor_tasks.h"

#define KC_EXPORT __attribute__((visibility("default")))

namespace keras_compress {
namespace {

// Words of hidden bits that stay in a second-level cache; so many images, but
// at least one, go through the network together.
constexpr int64_t kBlockWords = int64_t{1} << 17;
// No array is longer, so that sizes can be multiplied without overflow.
constexpr int64_t kMostNumbers = int64_t{1} << 46;

// What is between two stages.
struct Images {
  int64_t sizes[4];  // batch, height, width, and words or channels
  bool packed;
  int64_t channels;  // in the words of a pixel; -1 if that is not known

  int64_t pixels() const { return sizes[0] * sizes[1] * sizes[2]; }
  // Whether sizes can be sizes.
  bool Valid() const {
    int64_t all = 1;
    for (const int64_t size : sizes) {
      if (size < 0 || size > kMostNumbers) return false;
      if (__builtin_mul_overflow(all, size > 0 ? size : 1, &all)) return false;
    }
    return all <= kMostNumbers;
  }
};

bool Between(const int64_t* numbers, int count, int64_t least) {
  for (int i = 0; i < count; ++i) {
    if (numbers[i] < least || numbers[i] > INT32_MAX) return false;
  }
  return true;
}

ConvWindow Window(const KcXnorStage& stage) {
  ConvWindow window;
  memcpy(window.window, stage.window, sizeof(window.window));
  memcpy(window.strides, stage.strides, sizeof(window.strides));
  memcpy(window.dilations, stage.dilations, sizeof(window.dilations));
  window.same = stage.same != 0;
  return window;
}

bool Moves(const KcXnorStage& stage) {
  return Between(stage.window, 2, 1) && Between(stage.strides, 2, 1) &&
         Between(stage.dilations, 2, 1);
}

bool Weighs(const KcXnorStage& stage) {
  return stage.kind == KC_XNOR_PRODUCT || stage.kind == KC_XNOR_CONVOLUTION;
}

// Whether a pixel has as many channels.
bool HasChannels(const Images& at, int64_t channels) {
  if (channels < 0 || channels > INT32_MAX) return false;
  return at.sizes[3] == (at.packed ? Words(channels) : channels) &&
         (at.channels < 0 || at.channels == channels);
}

// The images become what the window's outputs are; false where it has no place.
bool Slide(const KcXnorStage& stage, Images* at) {
  int64_t geometry[14];
  Window(stage).Place(at->sizes, geometry);
  for (int i = 0; i < 2; ++i) {
    if (!ConvWindow::Fits(geometry, i)) return false;
    at->sizes[1 + i] = geometry[12 + i];
  }
  return true;
}

bool Weigh(const KcXnorStage& stage, Images* at) {
  const KcXnorLayer& layer = stage.layer;
  if (!ValidLayer(layer)) return false;
  if (stage.kind == KC_XNOR_PRODUCT) {
    if (!HasChannels(*at, layer.inputs)) return false;
  } else {
    if (!Moves(stage) || !HasChannels(*at, stage.channels)) return false;
    const int64_t taps = stage.window[0] * stage.window[1];
    if (stage.channels < 1 || taps > layer.inputs ||
        taps * stage.channels != layer.inputs || !Slide(stage, at)) {
      return false;
    }
  }
  at->channels = layer.units;
  at->packed = layer.output == kXnorBits;
  at->sizes[3] = at->packed ? Words(layer.units) : layer.units;
  return true;
}

// The images become what the stage makes of them; false where it cannot.
bool Follow(const KcXnorStage& stage, bool last, Images* at) {
  int64_t* sizes = at->sizes;
  if (Weighs(stage)) {
    if (!Weigh(stage, at) || !(last || at->packed)) return false;
  } else if (!at->packed) {
    return false;
  } else if (stage.kind == KC_XNOR_POOLING) {
    if (!Moves(stage) || sizes[3] != stage.channels ||
        (sizes[3] > 0 && stage.layer.flips == nullptr) || !Slide(stage, at)) {
      return false;
    }
  } else if (stage.kind == KC_XNOR_BORDER) {
    if (!Between(stage.border, 4, 0)) return false;
    sizes[1] += stage.border[0] + stage.border[1];
    sizes[2] += stage.border[2] + stage.border[3];
  } else if (stage.kind == KC_XNOR_FLATTEN && !last) {
    // The pixels of a row begin with new words.
    if (sizes[1] * sizes[2] != 1) at->channels = -1;
    sizes[3] *= sizes[1] * sizes[2];
    sizes[1] = sizes[2] = 1;
  } else {
    return false;
  }
  return at->Valid();
}

Images At(const int64_t* sizes, int packed) {
  return {{sizes[0], sizes[1], sizes[2], sizes[3]}, packed != 0, -1};
}

// The words of the largest images between two stages, for one of the first.
int64_t LargestImage(const KcXnorStage* stages, int64_t count, Images at) {
  at.sizes[0] = 1;
  int64_t most = at.packed ? 0 : at.pixels() * Words(at.sizes[3]);
  for (int64_t i = 0; i + 1 < count; ++i) {
    Follow(stages[i], false, &at);
    const int64_t words = at.pixels() * at.sizes[3];
    if (words > most) most = words;
  }
  return most;
}

void Surround(const KcXnorStage& stage, const Images& from, const Images& to,
              const uint32_t* words, uint32_t* outputs) {
  const int64_t line = to.sizes[2] * to.sizes[3];
  const int64_t left = stage.border[2] * to.sizes[3];
  const int64_t inside = from.sizes[2] * from.sizes[3];
  memset(outputs, 0, static_cast<size_t>(to.pixels() * to.sizes[3]) * 4);
  if (inside == 0) return;
  for (int64_t i = 0; i < from.sizes[0]; ++i) {
    for (int64_t y = 0; y < from.sizes[1]; ++y, words += inside) {
      const int64_t row = i * to.sizes[1] + stage.border[0] + y;
      memcpy(outputs + row * line + left, words,
             static_cast<size_t>(inside) * 4);
    }
  }
}

int Run(const KcXnorStage& stage, const Images& from, const Images& to,
        const void* inputs, void* outputs) {
  if (stage.kind == KC_XNOR_PRODUCT) {
    return kc_xnor_chain(&stage.layer, 1, from.packed, inputs, from.pixels(),
                         outputs);
  }
  const uint32_t* words = static_cast<const uint32_t*>(inputs);
  if (stage.kind == KC_XNOR_BORDER) {
    Surround(stage, from, to, words, static_cast<uint32_t*>(outputs));
    return KC_XNOR_OK;
  }
  int64_t geometry[14];
  Window(stage).Place(from.sizes, geometry);
  if (stage.kind == KC_XNOR_POOLING) {
    return kc_xnor_pool(words, geometry, stage.layer.flips,
                        static_cast<uint32_t*>(outputs));
  }
  geometry[3] = stage.channels;
  return kc_xnor_conv2d(&stage.layer, geometry, stage.zeros != 0, from.packed,
                        inputs, outputs);
}

// All stages for a few images: bits go to and fro between two blocks of memory.
int Block(const KcXnorStage* stages, int64_t count, Images at,
          const void* inputs, void* outputs) {
  int to = kRowsScratch;
  for (int64_t i = 0; i < count; ++i) {
    const Images from = at;
    Follow(stages[i], i + 1 == count, &at);
    if (stages[i].kind == KC_XNOR_FLATTEN) continue;
    void* made = outputs;
    if (i + 1 < count) {
      made = ThreadScratch(to, at.pixels() * at.sizes[3]);
      if (made == nullptr) return KC_XNOR_MEMORY;
      to = 1 - to;
    }
    const int result = Run(stages[i], from, at, inputs, made);
    if (result != KC_XNOR_OK) return result;
    inputs = made;
  }
  return KC_XNOR_OK;
}

}  // namespace
}  // namespace keras_compress

KC_EXPORT int64_t kc_xnor_network_sizes(const KcXnorStage* stages,
                                        int64_t count, int packed,
                                        const int64_t* images,
                                        int64_t* outputs) {
  using namespace keras_compress;
  Images at = At(images, packed);
  if (count < 1 || !at.Valid()) return 0;
  for (int64_t i = 0; i < count; ++i) {
    if (!Follow(stages[i], i + 1 == count, &at)) return i;
  }
  memcpy(outputs, at.sizes, sizeof(at.sizes));
  return -1;
}

KC_EXPORT int kc_xnor_network(const KcXnorStage* stages, int64_t count,
                              int packed, const void* inputs,
                              const int64_t* images, void* outputs) {
  using namespace keras_compress;
  int64_t sizes[4];
  if (kc_xnor_network_sizes(stages, count, packed, images, sizes) >= 0) {
    return KC_XNOR_ARGUMENT;
  }
  Images at = At(images, packed);
  const int64_t batch = at.sizes[0];
  at.sizes[0] = kBlockWords / (LargestImage(stages, count, at) + 1) + 1;
  const int64_t image = images[1] * images[2] * images[3];
  const int64_t made = sizes[1] * sizes[2] * sizes[3];
  for (int64_t i = 0; i < batch; i += at.sizes[0]) {
    if (batch - i < at.sizes[0]) at.sizes[0] = batch - i;
    const int result = Block(stages, count, at,
                             static_cast<const uint32_t*>(inputs) + i * image,
                             static_cast<uint32_t*>(outputs) + i * made);
    if (result != KC_XNOR_OK) return result;
  }
  return KC_XNOR_OK;
}
