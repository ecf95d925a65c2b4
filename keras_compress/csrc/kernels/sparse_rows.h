// The rows of a sparse product: of a matrix, or the patches of a convolution.
//
// A tile of rows is transposed into a panel [inputs][rows of the tile], or a
// row is handed out as it is. Included as sparse_lanes.h is, and in front of
// it.

// lines[row][k] into panel[k][row], for `length` inputs of each row; a row that
// is null is zeros.
template <class V, int kVectors>
inline void PackLines(const float* const* lines, int64_t length, float* panel) {
  constexpr int kRows = kVectors * V::kLanes;
  if (length * 4 <= V::kLanes) {  // too short for a transpose to pay
    for (int64_t k = 0; k < length; ++k) {
      for (int row = 0; row < kRows; ++row) {
        panel[k * kRows + row] = lines[row] ? lines[row][k] : 0.0f;
      }
    }
    return;
  }
  for (int v = 0; v < kVectors; ++v) {
    for (int64_t k = 0; k < length; k += V::kLanes) {
      const int64_t left = length - k;
      typename V::Type square[V::kLanes];
      for (int i = 0; i < V::kLanes; ++i) {
        const float* line = lines[v * V::kLanes + i];
        square[i] = !line               ? V::Zero()
                    : left >= V::kLanes ? V::Load(line + k)
                                        : V::LoadPart(line + k, left);
      }
      V::Transpose(square);
      for (int i = 0; i < V::kLanes && i < left; ++i) {
        V::Store(panel + (k + i) * kRows + v * V::kLanes, square[i]);
      }
    }
  }
}

// The rows of a matrix.
struct MatrixRows {
  const float* inputs;
  int64_t length;

  template <class V, int kVectors>
  void Pack(int64_t row, int64_t count, float* panel) const {
    const float* lines[kVectors * V::kLanes];
    for (int i = 0; i < kVectors * V::kLanes; ++i) {
      lines[i] = i < count ? inputs + (row + i) * length : nullptr;
    }
    PackLines<V, kVectors>(lines, length, panel);
  }

  // One row; `patch` is room for it, where it does not lie somewhere already.
  const float* One(int64_t row, float*) const { return inputs + row * length; }
};

// The patches of a convolution.
struct Patches {
  const ConvGeometry& g;
  const float* inputs;

  // Where the patch of one output pixel begins; it may begin outside.
  struct Corner {
    const float* image;
    int64_t y, x;
  };

  Corner At(int64_t pixel) const {
    const int64_t x = pixel % g.out_width;
    const int64_t line = pixel / g.out_width;
    const int64_t y = line % g.out_height;
    const int64_t image = line / g.out_height;
    return {inputs + image * g.height * g.width * g.channels,
            y * g.stride_height - g.pad_top, x * g.stride_width - g.pad_left};
  }

  const float* Pixel(const Corner& corner, int64_t i, int64_t j) const {
    const int64_t y = corner.y + i * g.dilation_height;
    const int64_t x = corner.x + j * g.dilation_width;
    const bool inside = y >= 0 && y < g.height && x >= 0 && x < g.width;
    return inside ? corner.image + (y * g.width + x) * g.channels : nullptr;
  }

  template <class V, int kVectors>
  void Pack(int64_t row, int64_t count, float* panel) const {
    constexpr int kRows = kVectors * V::kLanes;
    Corner corners[kRows];
    bool whole = g.dilation_width == 1;  // no kernel row cut at a side
    for (int i = 0; i < count; ++i) {
      corners[i] = At(row + i);
      whole = whole && corners[i].x >= 0 &&
              corners[i].x + g.kernel_width <= g.width;
    }
    const int64_t taps = whole ? 1 : g.kernel_width;
    const int64_t length = whole ? g.kernel_width * g.channels : g.channels;
    for (int64_t i = 0; i < g.kernel_height; ++i) {
      for (int64_t j = 0; j < taps; ++j) {
        const float* lines[kRows];
        for (int r = 0; r < kRows; ++r) {
          lines[r] = r < count ? Pixel(corners[r], i, j) : nullptr;
        }
        PackLines<V, kVectors>(lines, length, panel);
        panel += length * kRows;
      }
    }
  }

  const float* One(int64_t row, float* patch) const {
    const Corner corner = At(row);
    float* to = patch;
    for (int64_t i = 0; i < g.kernel_height; ++i) {
      for (int64_t j = 0; j < g.kernel_width; ++j) {
        const float* pixel = Pixel(corner, i, j);
        for (int64_t c = 0; c < g.channels; ++c)
          *to++ = pixel ? pixel[c] : 0.0f;
      }
    }
    return patch;
  }
};
