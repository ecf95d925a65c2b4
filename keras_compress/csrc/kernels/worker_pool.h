// Threads of this library's own that share out the tasks of one call.
//
// The caller of Run works too, and returns when all tasks are done. Workers
// start with the first call that wants them, spin for some microseconds after a
// call in case another follows, then sleep. A call that finds the pool busy
// with another thread's call does its tasks alone, so that calls from any
// number of threads are safe and never wait for each other. After fork, the
// child starts workers of its own when it wants them.
#ifndef KERAS_COMPRESS_CSRC_KERNELS_WORKER_POOL_H_
#define KERAS_COMPRESS_CSRC_KERNELS_WORKER_POOL_H_

#include <stdint.h>

namespace keras_compress {

// Calls task(context, i) once for every i in [0, tasks), on any thread.
void RunTasks(int64_t tasks, void (*task)(void* context, int64_t i),
              void* context);

template <class Function>
void RunTasks(int64_t tasks, Function&& function) {
  RunTasks(
      tasks,
      [](void* context, int64_t i) { (*static_cast<Function*>(context))(i); },
      &function);
}

}  // namespace keras_compress

extern "C" {

// Threads that share a call, the caller included; at first
// KERAS_COMPRESS_THREADS or as many as this process may run on.
int kc_threads();
// Less than 1 is taken for 1, more than 256 for 256.
void kc_set_threads(int threads);

}  // extern "C"

#endif  // KERAS_COMPRESS_CSRC_KERNELS_WORKER_POOL_H_
