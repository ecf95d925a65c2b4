// The reference of the sparse product: three plain loops, no cleverness.
#include <cmath>

#include "sparse_matmul.h"

namespace keras_compress {
namespace {

template <class Index>
void Row(const SparseWeights& weights, const float* row, float* outputs) {
  const Index* indices = static_cast<const Index*>(weights.indices);
  for (int64_t n = 0; n < weights.units; ++n) {
    float acc = 0.0f;
    for (int64_t p = weights.starts[n]; p < weights.starts[n + 1]; ++p) {
      acc = std::fma(row[indices[p]], weights.values[p], acc);
    }
    outputs[n] = acc + weights.bias[n];
  }
}

void AnyRow(const SparseWeights& weights, const float* row, float* outputs) {
  if (weights.index_bytes == 2) {
    Row<uint16_t>(weights, row, outputs);
  } else {
    Row<int32_t>(weights, row, outputs);
  }
}

// The patch under the kernel at one output pixel, in the order of the weights.
void Patch(const ConvGeometry& g, const float* image, int64_t y, int64_t x,
           float* patch) {
  for (int64_t i = 0; i < g.kernel_height; ++i) {
    for (int64_t j = 0; j < g.kernel_width; ++j) {
      const int64_t row =
          y * g.stride_height - g.pad_top + i * g.dilation_height;
      const int64_t col =
          x * g.stride_width - g.pad_left + j * g.dilation_width;
      const bool inside =
          row >= 0 && row < g.height && col >= 0 && col < g.width;
      for (int64_t c = 0; c < g.channels; ++c) {
        *patch++ =
            inside ? image[(row * g.width + col) * g.channels + c] : 0.0f;
      }
    }
  }
}

int64_t Scratch(int64_t inputs, int64_t) { return inputs; }

void Matmul(const SparseWeights* weights, const float* inputs, int64_t rows,
            float* outputs, float*) {
  for (int64_t m = 0; m < rows; ++m) {
    AnyRow(*weights, inputs + m * weights->inputs,
           outputs + m * weights->units);
  }
}

void Conv2d(const SparseWeights* weights, const ConvGeometry* geometry,
            const float* inputs, float* outputs, float* patch) {
  const ConvGeometry& g = *geometry;
  for (int64_t b = 0; b < g.batch; ++b) {
    const float* image = inputs + b * g.height * g.width * g.channels;
    for (int64_t y = 0; y < g.out_height; ++y) {
      for (int64_t x = 0; x < g.out_width; ++x) {
        Patch(g, image, y, x, patch);
        AnyRow(*weights, patch, outputs);
        outputs += weights->units;
      }
    }
  }
}

template <class Unsigned>
uint32_t Largest(const void* indices, int64_t count) {
  const Unsigned* index = static_cast<const Unsigned*>(indices);
  uint32_t largest = 0;
  for (int64_t p = 0; p < count; ++p) {
    largest = index[p] > largest ? index[p] : largest;
  }
  return largest;
}

uint32_t MaxIndex(const void* indices, int index_bytes, int64_t count) {
  return index_bytes == 2 ? Largest<uint16_t>(indices, count)
                          : Largest<uint32_t>(indices, count);
}

const SparseKernels kKernels = {Scratch, Matmul, Conv2d, MaxIndex};

}  // namespace

const SparseKernels* SparseKernelsScalar() { return &kKernels; }

}  // namespace keras_compress
