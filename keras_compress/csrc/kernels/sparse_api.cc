// Checks the weights of a sparse product, finds memory, calls the active level.
#include "sparse_api.h"

#include "dispatch.h"
#include "scratch.h"

#define KC_EXPORT __attribute__((visibility("default")))

namespace keras_compress {
namespace {

float* ThreadScratch(int64_t floats) {
  thread_local Scratch scratch;
  return scratch.Get<float>(floats);
}

int64_t Parts(int64_t whole, int64_t part) { return (whole + part - 1) / part; }

// Whether the lengths of the arrays go together.
bool Fits(const KcSparseMatrix& m) {
  // No more than indices reach, so that sizes can be multiplied.
  if (m.inputs < 0 || m.inputs > INT32_MAX || m.units < 0 ||
      m.units > INT32_MAX || m.value_count < 0 || m.index_count < 0) {
    return false;
  }
  const int64_t panels = Parts(m.units, kSparsePanel);
  const int64_t groups = Parts(m.units, kSparseGroup);
  switch (m.layout) {
    case kSparseColumns:
      return (m.index_bytes == 2 || m.index_bytes == 4) &&
             m.index_count == m.value_count && m.start_count == m.units + 1;
    case kSparsePanels:
      return m.index_bytes == 2 &&
             m.value_count == m.index_count * kSparsePanel &&
             m.start_count == panels + 1;
    case kSparseLanes:
      return m.index_bytes == 1 && m.index_count == m.value_count &&
             m.value_count == m.window_count * kSparseGroup &&
             m.start_count == groups + 1 &&
             m.order_count == groups * kSparseGroup;
    case kSparseBlocks:
      return m.index_bytes == 1 && m.index_count == m.value_count &&
             m.segment_bytes == 2 * m.units * Parts(m.inputs, kSparseBlock);
    default:
      return false;
  }
}

bool Rise(const int32_t* starts, int64_t count, int64_t end) {
  bool rising = starts[0] == 0 && starts[count - 1] == end;
  for (int64_t n = 1; n < count; ++n) rising &= starts[n - 1] <= starts[n];
  return rising;
}

bool EveryNumberOnce(const int32_t* order, int64_t count) {
  uint8_t* seen = reinterpret_cast<uint8_t*>(ThreadScratch(Parts(count, 4)));
  if (seen == nullptr) return false;
  for (int64_t i = 0; i < count; ++i) seen[i] = 0;
  bool once = true;
  for (int64_t i = 0; i < count && once; ++i) {
    once = order[i] >= 0 && order[i] < count && seen[order[i]] == 0;
    if (once) seen[order[i]] = 1;
  }
  return once;
}

int CheckBlocks(const KcSparseMatrix& m, const SparseKernels& kernels) {
  const uint8_t* index = static_cast<const uint8_t*>(m.indices);
  const uint8_t* segment = m.segments;
  int64_t total = 0;
  for (int64_t n = 0; n < m.units; n += kSparseChunk) {
    const int64_t left = m.units - n;
    const int64_t count = left < kSparseChunk ? left : kSparseChunk;
    for (int64_t k = 0; k < m.inputs; k += kSparseBlock) {
      int sum = 0;
      bool good = true;
      uint64_t seen = 0;  // of kSparseChunk places
      for (int64_t s = 0; s < count; ++s) {
        const uint8_t place = segment[2 * s];
        const uint8_t length = segment[2 * s + 1];
        sum += length;
        good &= place < count && (s == 0 || length <= segment[2 * s - 1]);
        const uint64_t bit = uint64_t{length > 0} << (place % kSparseChunk);
        good &= (seen & bit) == 0;
        seen |= bit;
      }
      segment += 2 * count;
      if (!good || total + sum > m.value_count) return KC_SPARSE_SEGMENTS;
      if (m.inputs - k < kSparseBlock && sum > 0 &&
          kernels.max_index(index + total, 1, sum) >= m.inputs - k) {
        return KC_SPARSE_INDICES;
      }
      total += sum;
    }
  }
  if (total != m.value_count) return KC_SPARSE_SEGMENTS;
  return total > 0 && kernels.max_index(index, 1, total) >= kSparseBlock
             ? KC_SPARSE_INDICES
             : KC_SPARSE_OK;
}

int Check(const KcSparseMatrix& m, const SparseKernels& kernels) {
  if (!Fits(m)) return KC_SPARSE_ARGUMENT;
  if (m.layout == kSparseBlocks) return CheckBlocks(m, kernels);
  const int64_t end = m.layout == kSparseLanes ? m.window_count : m.index_count;
  if (!Rise(m.starts, m.start_count, end)) return KC_SPARSE_STARTS;
  if (m.layout == kSparseLanes) {
    // Indices are taken modulo 32.
    if (end > 0 && kernels.max_index(m.windows, 2, end) >=
                       Parts(m.inputs, kSparseWindowStep)) {
      return KC_SPARSE_WINDOWS;
    }
    if (!EveryNumberOnce(m.order, m.order_count)) return KC_SPARSE_ORDER;
  } else if (end > 0 &&
             kernels.max_index(m.indices, m.index_bytes, end) >= m.inputs) {
    return KC_SPARSE_INDICES;
  }
  return KC_SPARSE_OK;
}

SparseWeights WeightsOf(const KcSparseMatrix& m) {
  return {m.layout, m.inputs,  m.units, m.values,   m.indices, m.index_bytes,
          m.starts, m.windows, m.order, m.segments, m.bias};
}

}  // namespace
}  // namespace keras_compress

KC_EXPORT int kc_sparse_matmul(const KcSparseMatrix* matrix,
                               const float* inputs, int64_t rows,
                               float* outputs) {
  using namespace keras_compress;
  const SparseKernels& kernels = *ActiveLevel().sparse;
  if (rows < 0) return KC_SPARSE_ARGUMENT;
  const int checked = Check(*matrix, kernels);
  if (checked != KC_SPARSE_OK) return checked;
  const SparseWeights weights = WeightsOf(*matrix);
  if (rows == 0 || weights.units == 0) return KC_SPARSE_OK;
  float* scratch = ThreadScratch(kernels.scratch(&weights, rows));
  if (scratch == nullptr) return KC_SPARSE_MEMORY;
  kernels.matmul(&weights, inputs, rows, outputs, scratch);
  return KC_SPARSE_OK;
}

KC_EXPORT int kc_sparse_conv2d(const KcSparseMatrix* matrix,
                               const int64_t* geometry, const float* inputs,
                               float* outputs) {
  using namespace keras_compress;
  const SparseKernels& kernels = *ActiveLevel().sparse;
  const ConvGeometry g = ConvGeometry::Of(geometry);
  if (!g.Valid() ||
      matrix->inputs != g.kernel_height * g.kernel_width * g.channels) {
    return KC_SPARSE_ARGUMENT;
  }
  const int checked = Check(*matrix, kernels);
  if (checked != KC_SPARSE_OK) return checked;
  const SparseWeights weights = WeightsOf(*matrix);
  const int64_t rows = g.batch * g.out_height * g.out_width;
  if (rows == 0 || weights.units == 0) return KC_SPARSE_OK;
  float* scratch = ThreadScratch(kernels.scratch(&weights, rows));
  if (scratch == nullptr) return KC_SPARSE_MEMORY;
  kernels.conv2d(&weights, &g, inputs, outputs, scratch);
  return KC_SPARSE_OK;
}
