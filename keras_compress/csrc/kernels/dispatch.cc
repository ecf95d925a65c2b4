// The only file that asks what the CPU can do.
#include "dispatch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <atomic>

#if defined(__x86_64__) && defined(__linux__) && !defined(KERAS_COMPRESS_NO_AMX)
#define KC_AMX 1
#include <sys/syscall.h>
#include <unistd.h>
#endif

#if defined(_WIN32)
#define KC_EXPORT __declspec(dllexport)
#else
#define KC_EXPORT __attribute__((visibility("default")))
#endif

namespace keras_compress {
namespace {

constexpr int kMaxLevels = 5;

// Every feature that a level's file is compiled with, never a family of CPUs.
#if defined(__x86_64__)
bool HasAvx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("popcnt");
}

bool HasAvx512() {
  return HasAvx2() && __builtin_cpu_supports("avx512f") &&
         __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq");
}

bool HasAvx512Vnni() {
  return HasAvx512() && __builtin_cpu_supports("avx512vnni");
}

bool HasAvx512Popcnt() {
  return HasAvx512() && __builtin_cpu_supports("avx512vpopcntdq");
}

#if defined(KC_AMX)
// Tiles are registers that Linux gives to processes which ask.
bool HasAmx() {
  constexpr int kAskForState = 0x1023, kTiles = 18;
  return HasAvx512Vnni() && __builtin_cpu_supports("amx-tile") &&
         __builtin_cpu_supports("amx-int8") &&
         syscall(SYS_arch_prctl, kAskForState, kTiles) == 0;
}
#endif
#endif

struct Levels {
  Level list[kMaxLevels];
  int count = 0;
  std::atomic<int> active{0};

  Levels() {
    Find(true);
    active = Wanted();
  }

  void Find(bool extensions) {
    count = 0;
    list[count++] = {"scalar",
                     SparseKernelsScalar(),
                     XnorKernelsScalar(),
                     IntegerKernelsScalar(),
                     LevelBitsScalar(),
                     LowRankKernelsScalar()};
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (HasAvx2()) {
      list[count++] = {"avx2",
                       SparseKernelsAvx2(),
                       XnorKernelsAvx2(),
                       IntegerKernelsAvx2(),
                       LevelBitsAvx2(),
                       LowRankKernelsAvx2()};
    }
    if (HasAvx512()) {
      list[count++] = {
          "avx512",
          SparseKernelsAvx512(),
          extensions && HasAvx512Popcnt() ? XnorKernelsAvx512Popcnt()
                                          : XnorKernelsAvx512(),
          extensions && HasAvx512Vnni() ? IntegerKernelsAvx512Vnni()
                                        : IntegerKernelsAvx2(),
          LevelBitsAvx512(),
          LowRankKernelsAvx512()};
    }
#if defined(KC_AMX)
    if (HasAmx()) {
      // Tiles are for integers; the rest is the best of AVX-512.
      list[count] = list[count - 1];
      list[count].name = "amx";
      list[count++].integer = IntegerKernelsAmx();
    }
#endif
#elif defined(__aarch64__)
    list[count++] = {"neon",
                     SparseKernelsNeon(),
                     XnorKernelsNeon(),
                     IntegerKernelsNeon(),
                     LevelBitsNeon(),
                     LowRankKernelsNeon()};
#endif
    (void)extensions;
  }

  int Wanted() const {
    const char* wanted = getenv("KERAS_COMPRESS_SIMD");
    if (wanted == nullptr || *wanted == '\0') return count - 1;
    for (int i = 0; i < count; ++i) {
      if (strcmp(wanted, list[i].name) == 0) return i;
    }
    fprintf(stderr,
            "keras_compress: KERAS_COMPRESS_SIMD=%s is not one of:", wanted);
    for (int i = 0; i < count; ++i) fprintf(stderr, " %s", list[i].name);
    fprintf(stderr, ". Using %s.\n", list[count - 1].name);
    return count - 1;
  }
};

Levels& AllLevels() {
  static Levels levels;
  return levels;
}

}  // namespace

const Level& ActiveLevel() {
  Levels& levels = AllLevels();
  return levels.list[levels.active.load(std::memory_order_relaxed)];
}

}  // namespace keras_compress

using keras_compress::AllLevels;

KC_EXPORT int kc_num_levels() { return AllLevels().count; }

KC_EXPORT const char* kc_level_name(int level) {
  if (level < 0 || level >= AllLevels().count) return nullptr;
  return AllLevels().list[level].name;
}

KC_EXPORT int kc_level() { return AllLevels().active; }

KC_EXPORT int kc_set_level(int level) {
  if (level < 0 || level >= AllLevels().count) return -1;
  AllLevels().active = level;
  return 0;
}

KC_EXPORT void kc_use_extensions(int use) { AllLevels().Find(use != 0); }
