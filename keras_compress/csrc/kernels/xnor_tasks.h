// What products and convolutions of packed signs share: memory, threads,
// checks.
#ifndef KERAS_COMPRESS_CSRC_KERNELS_XNOR_TASKS_H_
#define KERAS_COMPRESS_CSRC_KERNELS_XNOR_TASKS_H_

#include "xnor_api.h"
#include "xnor_matmul.h"

namespace keras_compress {

inline int64_t Words(int64_t signs) { return (signs + 31) / 32; }

// Blocks of memory of this thread, each with one use: two for the signs of rows
// in a chain, one for the tables and one for the images of a convolution.
enum { kRowsScratch = 0, kTableScratch = 2, kImageScratch = 3, kScratches = 4 };

// Aligned to 64 bytes, valid until the next call for the same block; null where
// there is no memory.
uint32_t* ThreadScratch(int which, int64_t words);

// Packs rows on several threads if that pays; false where one holds NaN.
bool PackRows(const XnorKernels& kernels, const float* inputs, int64_t rows,
              int64_t width, uint32_t* words);

// A product of `count` rows, on several threads if that pays.
void ShareProduct(const XnorKernels& kernels, const XnorWeights& weights,
                  const XnorRows& rows, int64_t count,
                  const XnorOutput& output);

// Whether all is there that the layer needs.
bool ValidLayer(const KcXnorLayer& layer);

// Whether outputs are so large that they are best written past the caches, and
// lie so that they can be.
bool Streams(int kind, int64_t units, int64_t rows, const void* outputs);

}  // namespace keras_compress

#endif  // KERAS_COMPRESS_CSRC_KERNELS_XNOR_TASKS_H_
