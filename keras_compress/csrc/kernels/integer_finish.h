// What comes before and after an integer product: floats to integers, sums to
// outputs. Plain loops, which every level's compiler makes vectors of.
//
// Included inside an anonymous namespace by each level, after <stdint.h> and
// integer_matmul.h, so that no two levels share a compiled function.

// Adding and subtracting it rounds a small float to the nearest even integer.
constexpr float kRounder = 12582912.0f;

template <int kHow>
inline float RoundFloat(float x) {
  if (kHow == kNearestEven) return (x + kRounder) - kRounder;
  float whole = static_cast<float>(static_cast<int32_t>(x));
  if (kHow == kFloor) whole -= whole > x ? 1.0f : 0.0f;
  return whole;
}

// to[k] = make(integer) for one row of floats; false if one is NaN.
template <int kHow, class To, class Make>
inline bool FromFloats(const IntegerRows& rows, const float* from,
                       int64_t inputs, To* to, Make make) {
  int bad = 0;
  const float scale = rows.scale, low = rows.low, high = rows.high;
  for (int64_t k = 0; k < inputs; ++k) {
    const float x = from[k];
    bad |= x != x;
    float y = x * scale;
    y = y > low ? y : low;  // NaN is low
    y = y < high ? y : high;
    to[k] = make(static_cast<int32_t>(RoundFloat<kHow>(y)));
  }
  return bad == 0;
}

template <class From, class To, class Make>
inline bool FromIntegers(const From* from, int64_t inputs, To* to, Make make) {
  for (int64_t k = 0; k < inputs; ++k) {
    to[k] = make(static_cast<int32_t>(from[k]));
  }
  return true;
}

// One row, of whatever kind.
template <class To, class Make>
inline bool FromRow(const IntegerRows& rows, int64_t row, int64_t inputs,
                    To* to, Make make) {
  const int64_t at = row * inputs;
  if (rows.kind == kIntegerFloat) {
    const float* from = static_cast<const float*>(rows.rows) + at;
    if (rows.rounding == kNearestEven) {
      return FromFloats<kNearestEven>(rows, from, inputs, to, make);
    }
    return rows.rounding == kTruncate
               ? FromFloats<kTruncate>(rows, from, inputs, to, make)
               : FromFloats<kFloor>(rows, from, inputs, to, make);
  }
  if (rows.kind == kInteger8) {
    return FromIntegers(static_cast<const int8_t*>(rows.rows) + at, inputs, to,
                        make);
  }
  if (rows.kind == kIntegerUnsigned8) {
    return FromIntegers(static_cast<const uint8_t*>(rows.rows) + at, inputs, to,
                        make);
  }
  return FromIntegers(static_cast<const int16_t*>(rows.rows) + at, inputs, to,
                      make);
}

// sum / 2^shift, rounded; a shift below zero multiplies.
template <int kHow>
inline int32_t Shifted(int32_t sum, int32_t shift) {
  const uint32_t right = static_cast<uint32_t>(shift > 0 ? shift : 0);
  const uint32_t left = static_cast<uint32_t>(shift < 0 ? -shift : 0);
  const int32_t value =
      static_cast<int32_t>(static_cast<uint32_t>(sum) << left);
  const int32_t below = value >> right;
  const uint32_t unit = uint32_t{1} << right;
  const uint32_t rest = static_cast<uint32_t>(value) & (unit - 1);
  uint32_t up = 0;
  if (kHow == kNearestEven) {
    // Twice the rest, so that nothing is half; an even number below stays.
    const uint32_t odd = static_cast<uint32_t>(below) & 1u;
    up = 2 * rest + odd > unit ? 1 : 0;
  } else if (kHow == kTruncate) {
    up = (value < 0) & (rest != 0);
  }
  return below + static_cast<int32_t>(up);
}

template <class To>
inline void WriteIntegers(const int32_t* values, int64_t count, To* to) {
  for (int64_t i = 0; i < count; ++i) to[i] = static_cast<To>(values[i]);
}

template <int kHow>
inline void Requantize(const IntegerOutput& output, int64_t unit, int64_t count,
                       int32_t* sums) {
  const int32_t low = output.low, high = output.high;
  const int32_t* shifts = output.shifts + unit;
  for (int64_t i = 0; i < count; ++i) {
    int32_t value = Shifted<kHow>(sums[i], shifts[i]);
    value = value > low ? value : low;
    sums[i] = value < high ? value : high;
  }
}

// The outputs of one row from a unit on, from its sums, which are overwritten.
inline void Finish(const IntegerOutput& output, int64_t units, int64_t row,
                   int64_t unit, int64_t count, int32_t* sums) {
  if (output.requantize) {
    if (output.rounding == kNearestEven) {
      Requantize<kNearestEven>(output, unit, count, sums);
    } else if (output.rounding == kTruncate) {
      Requantize<kTruncate>(output, unit, count, sums);
    } else {
      Requantize<kFloor>(output, unit, count, sums);
    }
  }
  const int64_t at = row * units + unit;
  if (output.kind == kIntegerFloat) {
    float* to = static_cast<float*>(output.outputs) + at;
    const float* scales = output.scales + unit;
    for (int64_t i = 0; i < count; ++i) {
      to[i] = static_cast<float>(sums[i]) * scales[i];
    }
  } else if (output.kind == kInteger32) {
    WriteIntegers(sums, count, static_cast<int32_t*>(output.outputs) + at);
  } else if (output.kind == kInteger8) {
    WriteIntegers(sums, count, static_cast<int8_t*>(output.outputs) + at);
  } else if (output.kind == kIntegerUnsigned8) {
    WriteIntegers(sums, count, static_cast<uint8_t*>(output.outputs) + at);
  } else {
    WriteIntegers(sums, count, static_cast<int16_t*>(output.outputs) + at);
  }
}

// Rows of 16-bit integers, for levels that multiply those; zeros behind.
inline int64_t PaddedInputs(int64_t inputs) { return (inputs + 7) / 8 * 8; }

inline int64_t RowBytes16(int64_t inputs, bool) {
  return 2 * PaddedInputs(inputs);
}

inline bool Prepare16(const IntegerRows* rows, int64_t inputs, int64_t row,
                      int64_t row_end, void* prepared) {
  bool good = true;
  const int64_t width = PaddedInputs(inputs);
  for (; row < row_end; ++row) {
    int16_t* to = static_cast<int16_t*>(prepared) + row * width;
    good &= FromRow(*rows, row, inputs, to,
                    [](int32_t x) { return static_cast<int16_t>(x); });
    for (int64_t k = inputs; k < width; ++k) to[k] = 0;
  }
  return good;
}

// Inputs of a step.
inline int64_t StepInputs(const IntegerWeights& weights) {
  return 32 / weights.bits;
}

// Steps of a panel without gaps.
inline int64_t PanelSteps(const IntegerWeights& weights) {
  const int64_t width = StepInputs(weights);
  return (weights.inputs + width - 1) / width;
}

// The steps of a panel, and of which inputs each is: null, or one after
// another.
struct IntegerSteps {
  const int8_t* bytes;
  int64_t count;
  const uint16_t* indices;
  const int8_t* next;  // what is fetched meanwhile, as many bytes
};

inline IntegerSteps StepsOf(const IntegerWeights& weights, int64_t panel) {
  if (weights.starts == nullptr) {
    const int64_t steps = PanelSteps(weights);
    const int8_t* bytes = weights.panels + panel * steps * 64;
    return {bytes, steps, nullptr, bytes};
  }
  const int64_t first = weights.starts[panel];
  const int8_t* bytes = weights.panels + first * 64;
  return {bytes, weights.starts[panel + 1] - first, weights.indices + first,
          bytes};
}
