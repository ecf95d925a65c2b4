// Where the windows of a convolution lie in images of packed signs, and what
// their sums begin with: all that is the same for every image.
#ifndef KERAS_COMPRESS_CSRC_KERNELS_XNOR_CONV_PLAN_H_
#define KERAS_COMPRESS_CSRC_KERNELS_XNOR_CONV_PLAN_H_

#include <stdint.h>
#include <string.h>

#include "conv_geometry.h"
#include "xnor_tasks.h"

namespace keras_compress {

// Rows that a product should have at least: small images go together.
constexpr int64_t kEnoughRows = 64;

// Which pixels of the window are inside the image, at each place of an axis.
// Places in a row with the same ones are a class.
struct WindowAxis {
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
class ConvPlan {
 public:
  ConvPlan(const KcXnorLayer& layer, const ConvGeometry& geometry, bool zeros)
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

  const WindowAxis rows_, columns_;
  bool zeros_;
};

}  // namespace keras_compress

#endif  // KERAS_COMPRESS_CSRC_KERNELS_XNOR_CONV_PLAN_H_
