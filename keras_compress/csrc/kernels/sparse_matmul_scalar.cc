// The reference of the sparse products: plain loops, no cleverness.
#include <cmath>

#include "sparse_matmul.h"

namespace keras_compress {
namespace {

template <class Index>
void ColumnsRow(const SparseWeights& w, const float* row, float* outputs) {
  const Index* indices = static_cast<const Index*>(w.indices);
  for (int64_t n = 0; n < w.units; ++n) {
    for (int64_t p = w.starts[n]; p < w.starts[n + 1]; ++p) {
      outputs[n] = std::fma(row[indices[p]], w.values[p], outputs[n]);
    }
  }
}

void PanelsRow(const SparseWeights& w, const float* row, float* outputs) {
  const uint16_t* indices = static_cast<const uint16_t*>(w.indices);
  for (int64_t n = 0; n < w.units; ++n) {
    const int32_t* starts = w.starts + n / kSparsePanel;
    for (int64_t p = starts[0]; p < starts[1]; ++p) {
      const float value = w.values[p * kSparsePanel + n % kSparsePanel];
      outputs[n] = std::fma(row[indices[p]], value, outputs[n]);
    }
  }
}

void LanesRow(const SparseWeights& w, const float* row, float* outputs) {
  const uint8_t* indices = static_cast<const uint8_t*>(w.indices);
  const int64_t groups = (w.units + kSparseGroup - 1) / kSparseGroup;
  for (int64_t at = 0; at < groups * kSparseGroup; ++at) {
    const int64_t n = w.order[at];
    if (n >= w.units) continue;
    const int32_t* starts = w.starts + at / kSparseGroup;
    for (int64_t s = starts[0]; s < starts[1]; ++s) {
      const int64_t p = s * kSparseGroup + at % kSparseGroup;
      const int64_t k =
          w.windows[s] * kSparseWindowStep + indices[p] % kSparseWindow;
      const float input = k < w.inputs ? row[k] : 0.0f;
      outputs[n] = std::fma(input, w.values[p], outputs[n]);
    }
  }
}

void BlocksRow(const SparseWeights& w, const float* row, float* outputs) {
  const uint8_t* index = static_cast<const uint8_t*>(w.indices);
  const float* value = w.values;
  const uint8_t* segment = w.segments;
  for (int64_t n = 0; n < w.units; n += kSparseChunk) {
    const int64_t left = w.units - n;
    for (int64_t k = 0; k < w.inputs; k += kSparseBlock) {
      for (int64_t s = 0; s < kSparseChunk && s < left; ++s, segment += 2) {
        float* acc = outputs + n + segment[0];
        for (int64_t p = 0; p < segment[1]; ++p) {
          *acc = std::fma(row[k + *index++], *value++, *acc);
        }
      }
    }
  }
}

void AnyRow(const SparseWeights& w, const float* row, float* outputs) {
  for (int64_t n = 0; n < w.units; ++n) outputs[n] = 0.0f;
  if (w.layout == kSparsePanels) {
    PanelsRow(w, row, outputs);
  } else if (w.layout == kSparseLanes) {
    LanesRow(w, row, outputs);
  } else if (w.layout == kSparseBlocks) {
    BlocksRow(w, row, outputs);
  } else if (w.index_bytes == 2) {
    ColumnsRow<uint16_t>(w, row, outputs);
  } else {
    ColumnsRow<int32_t>(w, row, outputs);
  }
  for (int64_t n = 0; n < w.units; ++n) outputs[n] += w.bias[n];
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

int64_t Scratch(const SparseWeights* weights, int64_t) {
  return weights->inputs;
}

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

uint32_t MaxIndex(const void* indices, int64_t index_bytes, int64_t count) {
  if (index_bytes == 1) return Largest<uint8_t>(indices, count);
  return index_bytes == 2 ? Largest<uint16_t>(indices, count)
                          : Largest<uint32_t>(indices, count);
}

const SparseKernels kKernels = {Scratch, Matmul, Conv2d, MaxIndex};

}  // namespace

const SparseKernels* SparseKernelsScalar() { return &kKernels; }

}  // namespace keras_compress
