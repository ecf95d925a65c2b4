// Convolutions of packed signs: a product whose rows are the windows, which lie
// in the image itself.
#include <string.h>

#include <atomic>

#include "dispatch.h"
#include "worker_pool.h"
#include "xnor_conv_plan.h"
#include "xnor_tasks.h"

#define KC_EXPORT __attribute__((visibility("default")))

namespace keras_compress {
namespace {

// Signs times units from which images are shared out to threads.
constexpr int64_t kAlone = int64_t{1} << 24;

// Packs, or copies, one line of an image into its place between the borders.
bool Line(const XnorKernels& kernels, const ConvPlan& plan, bool packed,
          const void* images, int64_t line, uint32_t* to) {
  const ConvGeometry& g = plan.g;
  const size_t left = static_cast<size_t>(g.pad_left * plan.pixel);
  const size_t inside = static_cast<size_t>(g.width * plan.pixel);
  const size_t all = static_cast<size_t>(plan.width * plan.pixel);
  memset(to, 0, left * 4);
  memset(to + left + inside, 0, (all - left - inside) * 4);
  if (packed) {
    memcpy(to + left,
           static_cast<const uint32_t*>(images) + line * g.width * plan.pixel,
           inside * 4);
    return true;
  }
  return kernels.pack(
      static_cast<const float*>(images) + line * g.width * g.channels, g.width,
      g.channels, to + left);
}

// Lays out one image with its borders; false where it holds NaN.
bool Image(const XnorKernels& kernels, const ConvPlan& plan, bool packed,
           const void* images, int64_t image, bool share, uint32_t* to) {
  const ConvGeometry& g = plan.g;
  const int64_t line = plan.width * plan.pixel;
  const int64_t below = plan.height - g.pad_top - g.height;
  memset(to, 0, static_cast<size_t>(g.pad_top * line) * 4);
  memset(to + (g.pad_top + g.height) * line, 0,
         static_cast<size_t>(below * line) * 4);
  const auto lines = [&](int64_t from, int64_t end) {
    bool numbers = true;
    for (int64_t y = from; y < end; ++y) {
      numbers &= Line(kernels, plan, packed, images, image * g.height + y,
                      to + (g.pad_top + y) * line);
    }
    return numbers;
  };
  // As in PackRows: a stream from memory is worth a second thread from 1 MB on.
  const int64_t block = (int64_t{1} << 17) / (g.width * g.channels + 1) + 1;
  if (!share || packed || g.height <= 2 * block) return lines(0, g.height);
  std::atomic<bool> numbers{true};
  RunTasks((g.height + block - 1) / block, [&](int64_t i) {
    const int64_t end = (i + 1) * block;
    if (!lines(i * block, end < g.height ? end : g.height)) numbers = false;
  });
  return numbers;
}

// A group of images; `share` lets threads join in.
int Group(const XnorKernels& kernels, const ConvPlan& plan,
          const KcXnorLayer& layer, bool packed, const void* images,
          int64_t first, bool share, bool stream, void* outputs) {
  const int64_t left = plan.g.batch - first;
  const int64_t count = left < plan.group ? left : plan.group;
  const uint32_t* words =
      static_cast<const uint32_t*>(images) + first * plan.frame();
  if (!packed || !plan.Framed()) {
    uint32_t* made = ThreadScratch(kImageScratch, count * plan.frame());
    if (made == nullptr) return KC_XNOR_MEMORY;
    bool numbers = true;
    for (int64_t i = 0; i < count; ++i) {
      numbers &= Image(kernels, plan, packed, images, first + i, share,
                       made + i * plan.frame());
    }
    if (!numbers) return KC_XNOR_NAN;
    words = made;
  }
  const XnorRows rows = {words, plan.starts, plan.offsets, plan.kept};
  const int64_t width =
      layer.output == kXnorBits ? Words(layer.units) : layer.units;
  const XnorOutput output = {
      static_cast<int>(layer.output),
      stream,
      layer.scale,
      layer.bias,
      layer.thresholds,
      layer.flips,
      static_cast<uint32_t*>(outputs) + first * plan.places * width};
  const int64_t pixels = count * plan.places;
  if (share) {
    ShareProduct(kernels, plan.weights, rows, pixels, output);
  } else {
    kernels.product(&plan.weights, &rows, &output, 0, pixels, 0,
                    (layer.units + kPanelUnits - 1) / kPanelUnits);
  }
  return KC_XNOR_OK;
}

int Convolve(const KcXnorLayer& layer, const ConvGeometry& g, bool zeros,
             bool packed, const void* images, void* outputs) {
  const XnorKernels& kernels = *ActiveLevel().xnor;
  ConvPlan plan(layer, g, zeros);
  if (g.batch == 0 || plan.places == 0) return KC_XNOR_OK;
  int64_t frame = 0;  // words of an image with its border
  if (__builtin_mul_overflow(plan.height, plan.width, &frame) ||
      __builtin_mul_overflow(frame, plan.pixel, &frame) ||
      frame > (int64_t{1} << 46) / plan.group) {
    return KC_XNOR_MEMORY;
  }
  if (!plan.Fill(kernels)) return KC_XNOR_MEMORY;
  const int64_t groups = (g.batch + plan.group - 1) / plan.group;
  const bool stream = Streams(static_cast<int>(layer.output), layer.units,
                              g.batch * plan.places, outputs);
  // Many images are shared out whole, few are cut.
  const bool whole =
      groups >= 2 * kc_threads() &&
      plan.places * layer.inputs >= kAlone / (g.batch * layer.units + 1);
  if (!whole) {
    for (int64_t i = 0; i < groups; ++i) {
      const int result = Group(kernels, plan, layer, packed, images,
                               i * plan.group, true, stream, outputs);
      if (result != KC_XNOR_OK) return result;
    }
    return KC_XNOR_OK;
  }
  std::atomic<int> result{KC_XNOR_OK};
  RunTasks(groups, [&](int64_t i) {
    const int one = Group(kernels, plan, layer, packed, images, i * plan.group,
                          false, stream, outputs);
    if (one != KC_XNOR_OK) result = one;
  });
  return result;
}

}  // namespace
}  // namespace keras_compress

KC_EXPORT int kc_xnor_conv2d(const KcXnorLayer* layer, const int64_t* geometry,
                             int zeros, int packed, const void* images,
                             void* outputs) {
  using namespace keras_compress;
  const ConvGeometry g = ConvGeometry::Of(geometry);
  if (!g.Valid() || !ValidLayer(*layer) ||
      layer->inputs != g.kernel_height * g.kernel_width * g.channels) {
    return KC_XNOR_ARGUMENT;
  }
  // Where a window is a pixel, pixels are rows.
  if (g.kernel_height == 1 && g.kernel_width == 1 && g.stride_height == 1 &&
      g.stride_width == 1 && g.pad_top == 0 && g.pad_left == 0 &&
      g.out_height == g.height && g.out_width == g.width) {
    return kc_xnor_chain(layer, 1, packed, images, g.batch * g.height * g.width,
                         outputs);
  }
  return Convolve(*layer, g, zeros != 0, packed != 0, images, outputs);
}
