// Convolutions of packed signs: a product whose rows are the windows, which lie
// in the image itself.
#include <string.h>

#include <atomic>

#include "conv_geometry.h"
#include "dispatch.h"
#include "worker_pool.h"
#include "xnor_tasks.h"

#define KC_EXPORT __attribute__((visibility("default")))

namespace keras_compress {
namespace {

// Rows that a product should have at least: small images go together.
constexpr int64_t kEnoughRows = 64;
// Signs times units from which images are shared out to threads.
constexpr int64_t kAlone = int64_t{1} << 24;

// Which pixels of the window are inside the image, at each place of an axis.
// Places in a row with the same ones are a class.
struct Axis {
  int64_t size, window, stride, dilation, pad, places;

  int64_t First(int64_t place) const {
    const int64_t before = pad - place * stride;
    const int64_t first = before > 0 ? (before + dilation - 1) / dilation : 0;
    return first < window ? first : window;
  }
  int64_t End(int64_t place) const {
    const int64_t left = size + pad - place * stride;
    const int64_t end = left > 0 ? (left + dilation - 1) / dilation : 0;
    return end < window ? end : window;
  }
  bool Whole(int64_t place) const {
    return First(place) == 0 && End(place) == window;
  }
  // Whether the pixels are those of the place before.
  bool Same(int64_t place) const {
    return place > 0 && First(place) == First(place - 1) &&
           End(place) == End(place - 1);
  }
  int64_t Classes() const {
    int64_t classes = 0;
    for (int64_t i = 0; i < places; ++i) classes += !Same(i);
    return classes;
  }
  bool Padded() const { return places > 0 && !(Whole(0) && Whole(places - 1)); }
};

// Everything about a convolution that is the same for all images.
class Plan {
 public:
  Plan(const KcXnorLayer& layer, const ConvGeometry& geometry, bool zeros)
      : g(geometry),
        pixel(Words(g.channels)),
        height(Frame(g.height, g.pad_top, g.out_height, g.stride_height,
                     g.kernel_height, g.dilation_height)),
        width(Frame(g.width, g.pad_left, g.out_width, g.stride_width,
                    g.kernel_width, g.dilation_width)),
        places(g.out_height * g.out_width),
        group(places < kEnoughRows && places > 0 ? kEnoughRows / places : 1),
        rows_{g.height,          g.kernel_height, g.stride_height,
              g.dilation_height, g.pad_top,       g.out_height},
        columns_{g.width,          g.kernel_width, g.stride_width,
                 g.dilation_width, g.pad_left,     g.out_width} {
    if (group > g.batch) group = g.batch;
    // Pixels that follow one another are one part.
    const bool joined = g.kernel_width == 1 || g.dilation_width == 1;
    const int64_t segments = g.kernel_height * (joined ? 1 : g.kernel_width);
    const int64_t words = joined ? g.kernel_width * pixel : pixel;
    weights = {layer.inputs,     layer.units, segments,    words,
               segments * words, layer.signs, layer.masks, layer.kept};
    zeros_ = zeros && (rows_.Padded() || columns_.Padded());
  }

  // Whether an image is as it must lie, but for being packed.
  bool Framed() const { return height == g.height && width == g.width; }
  int64_t frame() const { return height * width * pixel; }

  // Makes the tables; false where there is no memory.
  bool Fill(const XnorKernels& kernels) {
    const int64_t rows = group * places;
    const int64_t classes = zeros_ ? rows_.Classes() * columns_.Classes() : 0;
    const int64_t taps = zeros_ ? g.kernel_height * g.kernel_width : 0;
    const int64_t numbers = (classes + taps + 2) * weights.units + pixel;
    uint32_t* memory = ThreadScratch(
        kTableScratch, 2 * (rows + weights.segments) + 2 * rows + numbers);
    if (memory == nullptr) return false;
    starts = reinterpret_cast<int64_t*>(memory);
    offsets = starts + rows;
    const int32_t** pointers =
        reinterpret_cast<const int32_t**>(offsets + weights.segments);
    int32_t* left = reinterpret_cast<int32_t*>(pointers + rows);
    Starts();
    if (zeros_) {
      Kept(kernels, pointers, left, left + classes * weights.units);
      kept = pointers;
    }
    return true;
  }

  const ConvGeometry g;
  const int64_t pixel;          // words
  const int64_t height, width;  // of an image with its border
  const int64_t places;         // of the window in an image
  int64_t group;                // images that are one product
  XnorWeights weights;
  int64_t* starts = nullptr;
  int64_t* offsets = nullptr;
  const int32_t* const* kept = nullptr;

 private:
  static int64_t Frame(int64_t size, int64_t pad, int64_t places,
                       int64_t stride, int64_t window, int64_t dilation) {
    const int64_t reach = (places - 1) * stride + (window - 1) * dilation + 1;
    return places > 0 && reach > size + pad ? reach : size + pad;
  }

  void Starts() {
    int64_t* start = starts;
    for (int64_t i = 0; i < group; ++i) {
      for (int64_t y = 0; y < g.out_height; ++y) {
        const int64_t row = (i * height + y * g.stride_height) * width;
        for (int64_t x = 0; x < g.out_width; ++x) {
          *start++ = (row + x * g.stride_width) * pixel;
        }
      }
    }
    const int64_t parts = weights.segments / g.kernel_height;  // of a line
    for (int64_t s = 0; s < weights.segments; ++s) {
      offsets[s] = (s / parts * g.dilation_height * width +
                    s % parts * g.dilation_width) *
                   pixel;
    }
  }

  // A border of zeros is one of ones, whose weights are then taken off again:
  // what that changes is where a sum begins. `vectors` are one for each class
  // of rows and columns, `sums` one for each pixel of the window, with room for
  // two more and for a pixel.
  void Kept(const XnorKernels& kernels, const int32_t** pointers,
            int32_t* vectors, int32_t* sums) {
    const int64_t units = weights.units;
    TapSums(kernels, sums);
    const int64_t across = columns_.Classes();
    int64_t row_class = -1;
    const int32_t** pointer = pointers;
    for (int64_t y = 0; y < g.out_height; ++y, pointer += g.out_width) {
      if (rows_.Same(y)) {  // as the line above
        memcpy(pointer, pointer - g.out_width,
               static_cast<size_t>(g.out_width) * sizeof(*pointer));
        continue;
      }
      ++row_class;
      int64_t column_class = -1;
      for (int64_t x = 0; x < g.out_width; ++x) {
        if (columns_.Same(x)) {
          pointer[x] = pointer[x - 1];
          continue;
        }
        ++column_class;
        pointer[x] = weights.kept;
        if (rows_.Whole(y) && columns_.Whole(x)) continue;
        int32_t* vector = vectors + (row_class * across + column_class) * units;
        Inside(y, x, sums, vector);
        pointer[x] = vector;
      }
    }
    for (int64_t i = places; i < group * places; ++i) {
      pointers[i] = pointers[i - places];
    }
  }

  void Inside(int64_t y, int64_t x, const int32_t* sums,
              int32_t* vector) const {
    const int64_t units = weights.units;
    memcpy(vector, weights.kept, static_cast<size_t>(units) * 4);
    for (int64_t i = 0; i < g.kernel_height; ++i) {
      for (int64_t j = 0; j < g.kernel_width; ++j, sums += units) {
        if (i >= rows_.First(y) && i < rows_.End(y) && j >= columns_.First(x) &&
            j < columns_.End(x)) {
          continue;
        }
        for (int64_t n = 0; n < units; ++n) vector[n] -= sums[n];
      }
    }
  }

  // The sum of the weights of every pixel of the window: what it gives for
  // channels that are all +1.
  void TapSums(const XnorKernels& kernels, int32_t* sums) const {
    const int64_t units = weights.units;
    const int64_t taps = g.kernel_height * g.kernel_width;
    int32_t* begin = sums + taps * units;
    int32_t* ones = begin + units;
    uint32_t* plus = reinterpret_cast<uint32_t*>(ones + units);
    memset(plus, 0, static_cast<size_t>(pixel) * 4);
    const bool masked = weights.masks != nullptr;
    const int32_t channels = static_cast<int32_t>(g.channels);
    for (int64_t n = 0; n < units; ++n) begin[n] = masked ? 0 : channels;
    const XnorRows row = {plus, nullptr, nullptr, nullptr};
    const int64_t panels = (units + kPanelUnits - 1) / kPanelUnits;
    for (int64_t t = 0; t < taps; ++t, sums += units) {
      const int64_t at = t * pixel * kPanelUnits;
      XnorWeights tap = weights;
      tap.inputs = g.channels;
      tap.segments = 1;
      tap.words = pixel;
      tap.signs += at;
      tap.masks = masked ? weights.masks + at : nullptr;
      tap.kept = begin;
      XnorOutput output = {};
      output.kind = kXnorSums;
      output.data = sums;
      kernels.product(&tap, &row, &output, 0, 1, 0, panels);
      if (!masked) continue;
      tap.signs = tap.masks;
      tap.masks = nullptr;
      output.data = ones;
      kernels.product(&tap, &row, &output, 0, 1, 0, panels);
      for (int64_t n = 0; n < units; ++n) sums[n] -= ones[n] / 2;
    }
  }

  const Axis rows_, columns_;
  bool zeros_;
};

// Packs, or copies, one line of an image into its place between the borders.
bool Line(const XnorKernels& kernels, const Plan& plan, bool packed,
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
bool Image(const XnorKernels& kernels, const Plan& plan, bool packed,
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
int Group(const XnorKernels& kernels, const Plan& plan,
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
  Plan plan(layer, g, zeros);
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
