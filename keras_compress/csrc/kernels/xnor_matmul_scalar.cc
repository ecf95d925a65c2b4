// The reference of the product of packed signs: plain loops, no cleverness.
#include <cmath>

#include "xnor_matmul.h"

namespace keras_compress {
namespace {

bool Pack(const float* inputs, int64_t rows, int64_t width, uint32_t* words) {
  bool numbers = true;
  for (int64_t m = 0; m < rows; ++m) {
    for (int64_t k = 0; k < width; k += 32) {
      uint32_t word = 0;
      for (int64_t i = k; i < width && i < k + 32; ++i) {
        const float input = inputs[m * width + i];
        numbers &= !std::isnan(input);
        word |= uint32_t{input < 0.0f} << (i - k);
      }
      *words++ = word;
    }
  }
  return numbers;
}

int32_t Popcount(uint32_t word) {
  int32_t count = 0;
  for (; word != 0; word &= word - 1) ++count;
  return count;
}

int32_t Sum(const XnorWeights& w, const XnorRows& rows, int64_t m, int64_t n) {
  const int64_t all = w.segments * w.words;
  int32_t differ = 0;
  for (int64_t s = 0; s < w.segments; ++s) {
    const uint32_t* part =
        rows.words + (rows.starts == nullptr
                          ? m * all + s * w.words
                          : rows.starts[m] + rows.offsets[s]);
    for (int64_t k = 0; k < w.words; ++k) {
      const int64_t at =
          (n / kPanelUnits * w.stride + s * w.words + k) * kPanelUnits +
          n % kPanelUnits;
      const uint32_t mask = w.masks != nullptr ? w.masks[at] : ~uint32_t{0};
      differ += Popcount((part[k] ^ w.signs[at]) & mask);
    }
  }
  const int32_t* kept = rows.kept != nullptr ? rows.kept[m] : w.kept;
  return kept[n] - 2 * differ;
}

void Write(const XnorOutput& output, int64_t units, int64_t m, int64_t n,
           int32_t sum) {
  if (output.kind == kXnorSums) {
    static_cast<int32_t*>(output.data)[m * units + n] = sum;
  } else if (output.kind == kXnorFloats) {
    float value = static_cast<float>(sum);
    if (output.scale != nullptr) value *= output.scale[n];
    if (output.bias != nullptr) value += output.bias[n];
    static_cast<float*>(output.data)[m * units + n] = value;
  } else {
    uint32_t* word =
        static_cast<uint32_t*>(output.data) + m * ((units + 31) / 32) + n / 32;
    const uint32_t flip = output.flips[n / 32] >> (n % 32) & 1u;
    const uint32_t bit = uint32_t{sum < output.thresholds[n]} ^ flip;
    *word = (n % 32 == 0 ? 0 : *word) | bit << (n % 32);
  }
}

void Product(const XnorWeights* weights, const XnorRows* rows,
             const XnorOutput* output, int64_t row, int64_t row_end,
             int64_t panel, int64_t panel_end) {
  for (int64_t m = row; m < row_end; ++m) {
    for (int64_t n = panel * kPanelUnits;
         n < panel_end * kPanelUnits && n < weights->units; ++n) {
      Write(*output, weights->units, m, n, Sum(*weights, *rows, m, n));
    }
  }
}

const XnorKernels kKernels = {Pack, Product};

}  // namespace

const XnorKernels* XnorKernelsScalar() { return &kKernels; }

}  // namespace keras_compress
