// Checks low-rank products, and keeps what is between the two in the cache.
#include "low_rank_api.h"

#include <atomic>

#include "dispatch.h"
#include "scratch.h"
#include "worker_pool.h"

#define KC_EXPORT __attribute__((visibility("default")))

namespace keras_compress {
namespace {

// Multiplications that one thread does while a second one wakes up.
constexpr int64_t kAlone = int64_t{1} << 19;
// Floats between the products, for rows that are worked on together: with as
// many of the rows and of a panel they fit into a second-level cache of 1 MB.
constexpr int64_t kHiddenFloats = int64_t{1} << 15;
// Rows of the largest tiles, of 4 vectors and of less, go into these.
constexpr int64_t kStepRows = 24;
constexpr int64_t kMostRows = 192;

float* ThreadScratch(int64_t floats) {
  thread_local Scratch scratch;
  return scratch.Get<float>(floats);
}

// Rows between the products begin where a line of the cache does.
int64_t Stride(int64_t columns) { return (columns + 15) / 16 * 16; }

int64_t Panels(int64_t columns) {
  return (columns + kPanelColumns - 1) / kPanelColumns;
}

bool Valid(const KcLowRankProduct& p) {
  return p.inputs >= 0 && p.inputs <= INT32_MAX && p.rank >= 0 &&
         p.rank <= INT32_MAX && p.units >= 0 && p.units <= INT32_MAX &&
         p.left_count == p.inputs * p.rank &&
         p.right_count == p.rank * p.units && (p.relu == 0 || p.relu == 1);
}

int64_t BlockRows(int64_t rank) {
  const int64_t steps = kHiddenFloats / (kStepRows * (Stride(rank) + 1));
  const int64_t rows = (steps < 1 ? 1 : steps) * kStepRows;
  return rows < kMostRows ? rows : kMostRows;
}

// Rows [row, row_end), one block after the other; false without memory.
bool Blocks(const LowRankKernels& kernels, PanelProduct left,
            PanelProduct right, int64_t row, int64_t row_end) {
  const int64_t block = BlockRows(left.units);
  float* hidden = ThreadScratch(block * left.y_stride);
  if (hidden == nullptr) return false;
  left.y = hidden;
  right.x = hidden;
  float* outputs = right.y;
  const float* rows = left.x;
  for (; row < row_end; row += block) {
    const int64_t count = row_end - row < block ? row_end - row : block;
    left.x = rows + row * left.x_stride;
    right.y = outputs + row * right.y_stride;
    kernels.product(&left, 0, count, 0, Panels(left.units));
    kernels.product(&right, 0, count, 0, Panels(right.units));
  }
  return true;
}

// One product, its panels shared out.
void Shared(const LowRankKernels& kernels, const PanelProduct& product,
            int64_t rows) {
  RunTasks(Panels(product.units),
           [&](int64_t i) { kernels.product(&product, 0, rows, i, i + 1); });
}

bool Product(const LowRankKernels& kernels, PanelProduct left,
             PanelProduct right, int64_t count) {
  const int64_t threads = kc_threads();
  if (threads == 1 ||
      count * (left.inputs + right.units) < kAlone / (right.inputs + 1)) {
    return Blocks(kernels, left, right, 0, count);
  }
  if (count < threads * kStepRows) {
    // Too few rows to go round: threads share the panels, all rows at once.
    float* hidden = ThreadScratch(count * left.y_stride);
    if (hidden == nullptr) return false;
    left.y = hidden;
    right.x = hidden;
    Shared(kernels, left, count);
    Shared(kernels, right, count);
    return true;
  }
  // Several times as many parts as threads, for some may start late.
  int64_t part = (count + 4 * threads - 1) / (4 * threads);
  part = (part + kStepRows - 1) / kStepRows * kStepRows;
  std::atomic<bool> good{true};
  RunTasks((count + part - 1) / part, [&](int64_t i) {
    const int64_t end = (i + 1) * part < count ? (i + 1) * part : count;
    if (!Blocks(kernels, left, right, i * part, end)) good = false;
  });
  return good;
}

}  // namespace
}  // namespace keras_compress

KC_EXPORT int kc_low_rank_matmul(const KcLowRankProduct* product,
                                 const float* rows, int64_t count,
                                 float* outputs) {
  using namespace keras_compress;
  const KcLowRankProduct& p = *product;
  if (count < 0 || !Valid(p)) return KC_LOW_RANK_ARGUMENT;
  if (count == 0 || p.units == 0) return KC_LOW_RANK_OK;
  const int64_t stride = Stride(p.rank);
  const PanelProduct left = {p.inputs, p.rank,   p.left,  nullptr, false,
                             rows,     p.inputs, nullptr, stride};
  const PanelProduct right = {p.rank,  p.units, p.right, p.bias, p.relu == 1,
                              nullptr, stride,  outputs, p.units};
  return Product(*ActiveLevel().low_rank, left, right, count)
             ? KC_LOW_RANK_OK
             : KC_LOW_RANK_MEMORY;
}
