// Memory that a thread keeps between its calls: fresh memory for each would
// cost more page faults than small products cost arithmetic.
#ifndef KERAS_COMPRESS_CSRC_KERNELS_SCRATCH_H_
#define KERAS_COMPRESS_CSRC_KERNELS_SCRATCH_H_

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

namespace keras_compress {

// To be held as a `thread_local`.
class Scratch {
 public:
  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { free(memory_); }

  // Room for so many numbers, at least one, aligned to 64 bytes and valid until
  // the next call; null where there is no memory.
  template <class Number>
  Number* Get(int64_t count) {
    const int64_t bytes =
        (count > 0 ? count : 1) * static_cast<int64_t>(sizeof(Number));
    if (bytes > size_) {
      free(memory_);
      const int64_t whole = (bytes + 63) / 64 * 64;
      memory_ = aligned_alloc(64, static_cast<size_t>(whole));
      size_ = memory_ != nullptr ? whole : 0;
    }
    return static_cast<Number*>(memory_);
  }

 private:
  void* memory_ = nullptr;
  int64_t size_ = 0;
};

}  // namespace keras_compress

#endif  // KERAS_COMPRESS_CSRC_KERNELS_SCRATCH_H_
