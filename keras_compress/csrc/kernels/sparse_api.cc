// Checks the weights of a sparse product, finds memory, calls the active level.
#include "sparse_api.h"

#include <stdlib.h>

#include "dispatch.h"

#define KC_EXPORT __attribute__((visibility("default")))

namespace keras_compress {
namespace {

// Memory of one thread, kept between its calls: a fresh panel for each call
// would cost more page faults than small products cost arithmetic.
class Scratch {
 public:
  ~Scratch() { free(memory_); }

  float* Get(int64_t floats) {
    if (floats <= size_) return memory_;
    free(memory_);
    size_ = 0;
    const size_t bytes = (static_cast<size_t>(floats) * 4 + 63) / 64 * 64;
    memory_ = static_cast<float*>(aligned_alloc(64, bytes));
    if (memory_ != nullptr) size_ = static_cast<int64_t>(bytes / 4);
    return memory_;
  }

 private:
  float* memory_ = nullptr;
  int64_t size_ = 0;
};

float* ThreadScratch(int64_t floats) {
  thread_local Scratch scratch;
  return scratch.Get(floats > 0 ? floats : 1);
}

int Check(const SparseWeights& weights, int64_t kept,
          const SparseKernels& kernels) {
  if (weights.inputs < 0 || weights.units < 0 || kept < 0 ||
      (weights.index_bytes != 2 && weights.index_bytes != 4)) {
    return KC_SPARSE_ARGUMENT;
  }
  bool rising = weights.starts[0] == 0 && weights.starts[weights.units] == kept;
  for (int64_t n = 0; n < weights.units; ++n) {
    rising &= weights.starts[n] <= weights.starts[n + 1];
  }
  if (!rising) return KC_SPARSE_STARTS;
  if (kept > 0 && kernels.max_index(weights.indices, weights.index_bytes,
                                    kept) >= weights.inputs) {
    return KC_SPARSE_INDICES;
  }
  return KC_SPARSE_OK;
}

}  // namespace
}  // namespace keras_compress

KC_EXPORT int kc_sparse_matmul(const float* inputs, int64_t rows,
                               int64_t input_dim, int64_t units,
                               const float* values, const void* indices,
                               int index_bytes, int64_t kept,
                               const int32_t* starts, const float* bias,
                               float* outputs) {
  using namespace keras_compress;
  const SparseKernels& kernels = *ActiveLevel().sparse;
  const SparseWeights weights = {input_dim,   units,  values, indices,
                                 index_bytes, starts, bias};
  if (rows < 0) return KC_SPARSE_ARGUMENT;
  const int checked = Check(weights, kept, kernels);
  if (checked != KC_SPARSE_OK) return checked;
  if (rows == 0 || units == 0) return KC_SPARSE_OK;
  float* scratch = ThreadScratch(kernels.scratch(input_dim, rows));
  if (scratch == nullptr) return KC_SPARSE_MEMORY;
  kernels.matmul(&weights, inputs, rows, outputs, scratch);
  return KC_SPARSE_OK;
}

KC_EXPORT int kc_sparse_conv2d(const float* inputs, const int64_t* geometry,
                               int64_t units, const float* values,
                               const void* indices, int index_bytes,
                               int64_t kept, const int32_t* starts,
                               const float* bias, float* outputs) {
  using namespace keras_compress;
  const SparseKernels& kernels = *ActiveLevel().sparse;
  const ConvGeometry g = ConvGeometry::Of(geometry);
  if (!g.Valid()) return KC_SPARSE_ARGUMENT;
  const SparseWeights weights = {g.kernel_height * g.kernel_width * g.channels,
                                 units,
                                 values,
                                 indices,
                                 index_bytes,
                                 starts,
                                 bias};
  const int checked = Check(weights, kept, kernels);
  if (checked != KC_SPARSE_OK) return checked;
  const int64_t rows = g.batch * g.out_height * g.out_width;
  if (rows == 0 || units == 0) return KC_SPARSE_OK;
  float* scratch = ThreadScratch(kernels.scratch(weights.inputs, rows));
  if (scratch == nullptr) return KC_SPARSE_MEMORY;
  kernels.conv2d(&weights, &g, inputs, outputs, scratch);
  return KC_SPARSE_OK;
}
