// The products of integers, for sanitize_main.cc.
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <initializer_list>
#include <memory>

#include "dispatch.h"
#include "integer_api.h"
#include "worker_pool.h"

namespace {

uint32_t Next(uint64_t* state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return static_cast<uint32_t>(*state >> 32);
}

template <class T>
std::unique_ptr<T[]> Block(int64_t size) {
  return std::unique_ptr<T[]>(new T[static_cast<size_t>(size)]());
}

// Blocks of their own of exactly the right size, and what must come out.
template <class Row>
bool Matmul(int64_t rows, int64_t inputs, int64_t units, int64_t bits,
            int64_t kind, uint64_t seed, bool in_blocks = false) {
  uint64_t state = seed;
  const int64_t width = 32 / bits;
  const int64_t steps = (inputs + width - 1) / width;
  const auto panels = Block<int8_t>((units + 15) / 16 * steps * 64);
  const auto x = Block<Row>(rows * inputs);
  const auto codes = Block<int32_t>(inputs * units);
  const auto column_sums = Block<int32_t>(units);
  const auto bias = Block<int32_t>(units);
  const auto shifts = Block<int32_t>(units);
  const auto scales = Block<float>(units);
  for (int64_t i = 0; i < rows * inputs; ++i) {
    // Of floats and of every kind of integers, the same numbers.
    x[i] = static_cast<Row>(Next(&state) % 128);
  }
  for (int64_t n = 0; n < units; ++n) {
    bias[n] = static_cast<int32_t>(Next(&state) % 1000) - 500;
    shifts[n] = static_cast<int32_t>(Next(&state) % 9) - 1;
    scales[n] = 0.5f;
    for (int64_t k = 0; k < inputs; ++k) {
      const int32_t half = 1 << (bits - 1);
      int32_t code =
          static_cast<int32_t>(Next(&state) % static_cast<uint32_t>(2 * half)) -
          half;
      if (in_blocks && (n / 16 + k / 4) % 3 != 0) code = 0;
      codes[k * units + n] = code;
      column_sums[n] += code;
      int8_t* byte =
          &panels[((n / 16 * steps + k / width) * 16 + n % 16) * 4 + k % 4];
      if (bits == 8) {
        *byte = static_cast<int8_t>(code);
      } else if (bits == 16) {
        int8_t* low = byte - k % 4 + k % 2 * 2;
        low[0] = static_cast<int8_t>(code & 255);
        low[1] = static_cast<int8_t>(code >> 8);
      } else {
        const int place = k % 8 < 4 ? 0 : 4;
        *byte = static_cast<int8_t>(*byte | ((code & 15) << place));
      }
    }
  }
  KcIntegerProduct product = {};
  product.inputs = inputs;
  product.units = units;
  product.bits = bits;
  product.panels = panels.get();
  product.column_sums = column_sums.get();
  product.bias = bias.get();
  product.row_kind = kind;
  product.low = -128;
  product.high = 127;
  product.shifts = shifts.get();
  product.scales = scales.get();
  // Of the panels, one block in three.
  const auto starts = Block<int32_t>((units + 15) / 16 + 1);
  const auto indices = Block<uint16_t>((units + 15) / 16 * steps);
  if (in_blocks) {
    int64_t kept = 0;
    for (int64_t p = 0; p < (units + 15) / 16; ++p) {
      for (int64_t s = 0; s < steps; ++s) {
        if ((p + s) % 3 != 0) continue;
        memmove(&panels[kept * 64], &panels[(p * steps + s) * 64], 64);
        indices[kept++] = static_cast<uint16_t>(s);
      }
      starts[p + 1] = static_cast<int32_t>(kept);
    }
    product.blocks = kept;
    product.indices = indices.get();
    product.starts = starts.get();
  }
  const auto sums = Block<int32_t>(rows * units);
  const auto floats = Block<float>(rows * units);
  const auto bytes = Block<int8_t>(rows * units);
  product.output_kind = 1;
  bool good = kc_integer_matmul(&product, x.get(), rows, sums.get()) == 0;
  product.output_kind = 0;
  good &= kc_integer_matmul(&product, x.get(), rows, floats.get()) == 0;
  product.output_kind = 2;
  product.requantize = 1;
  product.output_low = -100;
  product.output_high = 100;
  product.output_rounding = static_cast<int64_t>(seed % 3);
  good &= kc_integer_matmul(&product, x.get(), rows, bytes.get()) == 0;
  for (int64_t m = 0; good && m < rows; ++m) {
    for (int64_t n = 0; n < units; ++n) {
      int32_t sum = bias[n];
      for (int64_t k = 0; k < inputs; ++k) {
        sum += static_cast<int32_t>(x[m * inputs + k]) * codes[k * units + n];
      }
      const int32_t unit = shifts[n] > 0 ? 1 << shifts[n] : 1;
      const int32_t value = shifts[n] < 0 ? 2 * sum : sum;
      int32_t below = value / unit - (value % unit < 0);
      const int32_t rest = value - below * unit;
      if (product.output_rounding == 1) below += value < 0 && rest != 0;
      if (product.output_rounding == 0) {
        below += 2 * rest > unit || (2 * rest == unit && below % 2 != 0);
      }
      below = below < -100 ? -100 : below > 100 ? 100 : below;
      good &= sums[m * units + n] == sum && bytes[m * units + n] == below &&
              floats[m * units + n] == static_cast<float>(sum) * 0.5f;
    }
  }
  if (!good) {
    printf("%s: integers %d x %d x %d of %d bits: wrong\n",
           kc_level_name(kc_level()), static_cast<int>(rows),
           static_cast<int>(inputs), static_cast<int>(units),
           static_cast<int>(bits));
  }
  return good;
}

}  // namespace

bool EveryInteger(uint64_t seed) {
  bool good = true;
  kc_set_threads(3);
  for (const int64_t bits : {16, 8, 4}) {
    for (const int64_t rows : {0, 1, 2, 3, 5, 6, 7, 13}) {
      for (const int64_t inputs : {1, 3, 4, 7, 8, 9, 17, 65}) {
        for (const int64_t units : {1, 8, 15, 16, 17, 40, 64, 65}) {
          good &= Matmul<int8_t>(rows, inputs, units, bits, 2, ++seed);
          good &= Matmul<float>(rows, inputs, units, bits, 0, ++seed);
          if (bits != 8) continue;
          good &= Matmul<float>(rows, inputs, units, bits, 0, ++seed, true);
          good &= Matmul<int16_t>(rows, inputs, units, bits, 4, ++seed, true);
        }
      }
      good &= Matmul<uint8_t>(rows, 37, 50, bits, 3, ++seed);
      good &= Matmul<int16_t>(rows, 37, 50, bits, 4, ++seed);
    }
    good &= Matmul<int16_t>(70, 300, 300, bits, 4, ++seed);  // for the pool
  }
  return good;
}
