// Hands out tasks by one atomic word that says whether a call may be joined.
#include "worker_pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

#define KC_EXPORT __attribute__((visibility("default")))

namespace keras_compress {
namespace {

constexpr int kMaxThreads = 256;
constexpr int kSpins = 4000;  // about 50 us on the machines measured

inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

int ThreadsAtFirst() {
  const char* wanted = getenv("KERAS_COMPRESS_THREADS");
  int threads = wanted != nullptr ? atoi(wanted) : 0;
#if defined(__linux__)
  cpu_set_t mine;
  if (threads < 1 && sched_getaffinity(0, sizeof(mine), &mine) == 0) {
    threads = CPU_COUNT(&mine);
  }
#endif
  if (threads < 1)
    threads = static_cast<int>(std::thread::hardware_concurrency());
  return threads < 1 ? 1 : threads > kMaxThreads ? kMaxThreads : threads;
}

std::atomic<int> the_threads{ThreadsAtFirst()};

// A pool is never destroyed: workers may sleep in it when the process ends, and
// after fork the child only forgets its parent's.
class Pool {
 public:
  // False where another call has the pool.
  bool Run(int threads, int64_t tasks, void (*task)(void*, int64_t),
           void* context) {
    if (busy_.exchange(true, std::memory_order_acquire)) return false;
    Grow(threads - 1);
    task_ = task;
    context_ = context;
    tasks_ = tasks;
    room_ = threads - 1;
    next_.store(0, std::memory_order_relaxed);
    call_.store(
        ((call_.load(std::memory_order_relaxed) >> 17) + 1) << 17 | kOpen,
        std::memory_order_seq_cst);
    if (sleepers_.load(std::memory_order_seq_cst) > 0) {
      const std::lock_guard<std::mutex> lock(mutex_);
      wake_.notify_all();
    }
    Work();
    call_.fetch_and(~kOpen, std::memory_order_acq_rel);
    for (int spins = 0; (call_.load(std::memory_order_acquire) & kActive) != 0;
         ++spins) {
      if (spins < kSpins) {
        Pause();
      } else {
        std::this_thread::yield();
      }
    }
    busy_.store(false, std::memory_order_release);
    return true;
  }

 private:
  // call_: workers at it in bits 0 to 15, may be joined in bit 16, then a count
  // of calls. Who joins has raised the first by a compare-and-swap that found
  // the second set, so that nobody looks at a call that has ended.
  static constexpr uint64_t kActive = 0xffff;
  static constexpr uint64_t kOpen = 0x10000;

  void Grow(int workers) {
    while (workers_ < workers) {
      try {
        std::thread(&Pool::Live, this).detach();
      } catch (const std::system_error&) {
        return;  // no more threads to be had: those there are do the work
      }
      ++workers_;
    }
  }

  void Work() {
    for (;;) {
      const int64_t i = next_.fetch_add(1, std::memory_order_relaxed);
      if (i >= tasks_) return;
      task_(context_, i);
    }
  }

  // Whether there was a call to join.
  bool Join(uint64_t* last) {
    uint64_t call = call_.load(std::memory_order_seq_cst);
    while ((call & kOpen) != 0 && call >> 17 != *last) {
      if (call_.compare_exchange_weak(call, call + 1,
                                      std::memory_order_acq_rel)) {
        *last = call >> 17;
        if (static_cast<int64_t>(call & kActive) < room_) Work();
        call_.fetch_sub(1, std::memory_order_acq_rel);
        return true;
      }
    }
    return false;
  }

  void Live() {
    uint64_t last = 0;
    for (;;) {
      bool joined = false;
      for (int spins = 0; spins < kSpins && !joined; ++spins) {
        joined = Join(&last);
        if (!joined) Pause();
      }
      if (joined) continue;
      std::unique_lock<std::mutex> lock(mutex_);
      sleepers_.fetch_add(1, std::memory_order_seq_cst);
      wake_.wait(lock, [&] {
        const uint64_t call = call_.load(std::memory_order_seq_cst);
        return (call & kOpen) != 0 && call >> 17 != last;
      });
      sleepers_.fetch_sub(1, std::memory_order_seq_cst);
    }
  }

  std::atomic<bool> busy_{false};
  std::atomic<uint64_t> call_{0};
  std::atomic<int64_t> next_{0};
  std::atomic<int> sleepers_{0};
  std::mutex mutex_;
  std::condition_variable wake_;
  // Written by the call that has the pool, read by who joins it.
  void (*task_)(void*, int64_t) = nullptr;
  void* context_ = nullptr;
  int64_t tasks_ = 0;
  int64_t room_ = 0;
  int workers_ = 0;
};

std::atomic<Pool*> the_pool{nullptr};

[[maybe_unused]] const int at_fork =
    pthread_atfork(nullptr, nullptr, [] { the_pool.store(nullptr); });

Pool* ThePool() {
  Pool* pool = the_pool.load(std::memory_order_acquire);
  if (pool != nullptr) return pool;
  // No lock: another thread could hold it while this process forks.
  Pool* made = new Pool();
  if (the_pool.compare_exchange_strong(pool, made)) return made;
  delete made;
  return pool;
}

}  // namespace

void RunTasks(int64_t tasks, void (*task)(void*, int64_t), void* context) {
  int64_t threads = the_threads.load(std::memory_order_relaxed);
  if (threads > tasks) threads = tasks;
  if (threads > 1 &&
      ThePool()->Run(static_cast<int>(threads), tasks, task, context)) {
    return;
  }
  for (int64_t i = 0; i < tasks; ++i) task(context, i);
}

}  // namespace keras_compress

KC_EXPORT int kc_threads() { return keras_compress::the_threads; }

KC_EXPORT void kc_set_threads(int threads) {
  keras_compress::the_threads = threads < 1 ? 1
                                : threads > keras_compress::kMaxThreads
                                    ? keras_compress::kMaxThreads
                                    : threads;
}
