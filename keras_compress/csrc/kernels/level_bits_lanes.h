// The bits of levels, in loops that a compiler turns into vectors.
//
// Included inside an anonymous namespace by each level of SIMD, after
// <stdint.h>, <string.h> and level_bits.h, so that no two share a compiled
// function.

// Numbers that are looked at together: their levels stay in registers.
constexpr int64_t kTogether = 64;
// With more limits, halving beats comparing with each.
constexpr int64_t kMostCompared = 100;

inline void Levels(const LevelTable& table, const float* inputs,
                   int32_t* levels) {
  int32_t found[kTogether] = {};
  if (table.count > kMostCompared) {
    // What is left is halved for all together, so that none waits for another.
    int32_t left = static_cast<int32_t>(table.count);
    for (int32_t half = left / 2; half > 0; left -= half, half = left / 2) {
      const float* limits = table.limits + half - 1;
      for (int64_t i = 0; i < kTogether; ++i) {
        // As a product: a branch would be guessed wrong half of the time.
        found[i] += half * int32_t{inputs[i] >= limits[found[i]]};
      }
    }
    for (int64_t i = 0; i < kTogether; ++i) {
      found[i] += inputs[i] >= table.limits[found[i]];
    }
  } else {
    for (int64_t k = 0; k < table.count; ++k) {
      const float limit = table.limits[k];
      for (int64_t i = 0; i < kTogether; ++i) found[i] += inputs[i] >= limit;
    }
  }
  const int32_t none = static_cast<int32_t>(table.count + 1);
  for (int64_t i = 0; i < kTogether; ++i) {
    levels[i] = inputs[i] == inputs[i] ? found[i] : none;
  }
}

// With a length that is known, a word is copied by one or two moves.
template <int64_t kLength>
inline void Copy(const LevelTable& table, const int32_t* levels, int64_t count,
                 float* outputs) {
  const int64_t length = kLength > 0 ? kLength : table.length;
  for (int64_t i = 0; i < count; ++i, outputs += length) {
    memcpy(outputs, table.words + levels[i] * length,
           static_cast<size_t>(length) * 4);
  }
}

inline void Words(const LevelTable* table, const float* inputs, int64_t count,
                  float* outputs) {
  int32_t levels[kTogether];
  float last[kTogether] = {};
  for (int64_t i = 0; i < count; i += kTogether) {
    const int64_t some = count - i < kTogether ? count - i : kTogether;
    const float* from = inputs + i;
    if (some < kTogether) {
      memcpy(last, from, static_cast<size_t>(some) * 4);
      from = last;
    }
    Levels(*table, from, levels);
    switch (table->length) {
      case 1:
        Copy<1>(*table, levels, some, outputs);
        break;
      case 2:
        Copy<2>(*table, levels, some, outputs);
        break;
      case 3:
        Copy<3>(*table, levels, some, outputs);
        break;
      case 4:
        Copy<4>(*table, levels, some, outputs);
        break;
      case 8:
        Copy<8>(*table, levels, some, outputs);
        break;
      default:
        Copy<0>(*table, levels, some, outputs);
    }
    outputs += some * table->length;
  }
}
