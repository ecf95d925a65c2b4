// Before and after products of bytes with AVX-512: 64 inputs at a time as
// bytes, 16 sums at a time as outputs.
//
// Included inside an anonymous namespace, after integer_finish.h.

inline bool IsUnsigned(const IntegerRows& rows) {
  return rows.kind == kIntegerUnsigned8 ||
         (rows.kind == kIntegerFloat && rows.low >= 0.0f);
}

// The first `count` lanes, of 64 at most; none below zero.
inline __mmask64 FirstLanes(int64_t count) {
  if (count >= 64) return ~__mmask64{0};
  return count <= 0 ? 0 : (__mmask64{1} << count) - 1;
}

// Integers of 16 floats; `nan` gathers where one is none.
template <int kHow>
inline __m512i Integers(const IntegerRows& rows, __m512 x, __mmask16* nan) {
  *nan = static_cast<__mmask16>(*nan | _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q));
  x = _mm512_mul_ps(x, _mm512_set1_ps(rows.scale));
  x = _mm512_max_ps(x, _mm512_set1_ps(rows.low));
  x = _mm512_min_ps(x, _mm512_set1_ps(rows.high));
  if (kHow == kTruncate) return _mm512_cvttps_epi32(x);
  if (kHow == kFloor) {
    return _mm512_cvt_roundps_epi32(x,
                                    _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  }
  return _mm512_cvt_roundps_epi32(
      x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

// Inputs k to k + 63 of a row as unsigned bytes: 128 more than they are, or as
// they are if they are unsigned; of wide ones the low bytes, and as `high` what
// is above them, plus 128. Behind the last input anything.
template <int kHow>
inline __m512i Bytes(const IntegerRows& rows, int64_t row, int64_t inputs,
                     int64_t k, __m512i* high, __mmask16* nan) {
  const __m512i top = _mm512_set1_epi8(-128);
  const __mmask64 part = FirstLanes(inputs - k);
  const int64_t at = row * inputs + k;
  if (rows.kind == kInteger8 || rows.kind == kIntegerUnsigned8) {
    const __m512i x = _mm512_maskz_loadu_epi8(
        part, static_cast<const int8_t*>(rows.rows) + at);
    return rows.kind == kInteger8 ? _mm512_xor_si512(x, top) : x;
  }
  // Words in the order in which packs leave them: `order` undoes it.
  __m512i one, other, order;
  if (rows.kind == kInteger16) {
    const int16_t* from = static_cast<const int16_t*>(rows.rows) + at;
    one = _mm512_maskz_loadu_epi16(static_cast<__mmask32>(part), from);
    other =
        _mm512_maskz_loadu_epi16(static_cast<__mmask32>(part >> 32), from + 32);
    order =
        _mm512_setr_epi32(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
  } else {
    const float* from = static_cast<const float*>(rows.rows) + at;
    __m512i x[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      x[i] = Integers<kHow>(
          rows,
          _mm512_maskz_loadu_ps(static_cast<__mmask16>(part >> (16 * i)),
                                from + 16 * i),
          nan);
    }
    one = _mm512_packs_epi32(x[0], x[1]);
    other = _mm512_packs_epi32(x[2], x[3]);
    order =
        _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  }
  __m512i low;
  if (rows.wide) {
    const __m512i byte = _mm512_set1_epi16(255);
    low = _mm512_packus_epi16(_mm512_and_si512(one, byte),
                              _mm512_and_si512(other, byte));
    const __m512i above = _mm512_packs_epi16(_mm512_srai_epi16(one, 8),
                                             _mm512_srai_epi16(other, 8));
    *high = _mm512_permutexvar_epi32(order, _mm512_xor_si512(above, top));
  } else if (IsUnsigned(rows)) {
    low = _mm512_packus_epi16(one, other);
  } else {
    low = _mm512_xor_si512(_mm512_packs_epi16(one, other), top);
  }
  return _mm512_permutexvar_epi32(order, low);
}

// A row as bytes, `width` of them, false where it holds NaN; wide ones have
// their low bytes first, then their high ones.
template <int kHow>
inline bool PrepareRow(const IntegerRows& rows, int64_t row, int64_t inputs,
                       int64_t width, uint8_t* to) {
  __mmask16 nan = 0;
  for (int64_t k = 0; k < width; k += 64) {
    __m512i high;
    const __m512i low = Bytes<kHow>(rows, row, inputs, k, &high, &nan);
    // What stands behind the inputs meets weights of zero.
    const __mmask64 part = FirstLanes(width - k);
    _mm512_mask_storeu_epi8(to + k, part, low);
    if (rows.wide) _mm512_mask_storeu_epi8(to + width + k, part, high);
  }
  return nan == 0;
}

// A panel of 4 bits as one of 8 bits, of so many steps.
inline void WholeBytes(const int8_t* from, int64_t steps, int8_t* to) {
  const __m512i low_bits = _mm512_set1_epi8(15);
  const __m512i eight = _mm512_set1_epi8(8);
  for (int64_t s = 0; s < steps; ++s) {
    __m512i half = _mm512_loadu_si512(from + s / 2 * 64);
    if (s % 2 == 1) half = _mm512_srli_epi16(half, 4);
    // (x ^ 8) - 8 extends the sign of 4 bits.
    half = _mm512_xor_si512(_mm512_and_si512(half, low_bits), eight);
    _mm512_store_si512(to + s * 64, _mm512_sub_epi8(half, eight));
  }
}

// `Shifted` of integer_finish.h, of 16.
template <int kHow>
inline __m512i ShiftedOf(__m512i sums, __m512i shifts) {
  const __m512i zero = _mm512_setzero_si512(), one = _mm512_set1_epi32(1);
  const __m512i right = _mm512_max_epi32(shifts, zero);
  const __m512i left = _mm512_max_epi32(_mm512_sub_epi32(zero, shifts), zero);
  const __m512i value = _mm512_sllv_epi32(sums, left);
  const __m512i below = _mm512_srav_epi32(value, right);
  if (kHow == kFloor) return below;
  const __m512i unit = _mm512_sllv_epi32(one, right);
  const __m512i rest = _mm512_and_si512(value, _mm512_sub_epi32(unit, one));
  __mmask16 up;
  if (kHow == kTruncate) {
    up = _mm512_mask_test_epi32_mask(_mm512_movepi32_mask(value), rest, rest);
  } else {
    const __m512i odd = _mm512_and_si512(below, one);
    up = _mm512_cmpgt_epu32_mask(
        _mm512_add_epi32(_mm512_add_epi32(rest, rest), odd), unit);
  }
  return _mm512_mask_add_epi32(below, up, below, one);
}

// The outputs of units that stand together, 16 at most.
class Writer {
 public:
  Writer(const IntegerWeights& weights, const IntegerRows& given,
         const IntegerOutput& output, int64_t unit, int64_t units)
      : output_(output), all_(weights.units), unit_(unit), whole_(units >= 16) {
    part_ = static_cast<__mmask16>(FirstLanes(whole_ ? 16 : units));
    // The bias, less what the inputs are more than they should be.
    const int offset = given.wide ? 128 << 8 : IsUnsigned(given) ? 0 : 128;
    added_ = _mm512_sub_epi32(
        _mm512_maskz_loadu_epi32(part_, weights.bias + unit),
        _mm512_mullo_epi32(
            _mm512_maskz_loadu_epi32(part_, weights.column_sums + unit),
            _mm512_set1_epi32(offset)));
    if (output.requantize) {
      shifts_ = _mm512_maskz_loadu_epi32(part_, output.shifts + unit);
    }
    if (output.kind == kIntegerFloat) {
      scales_ = _mm512_maskz_loadu_ps(part_, output.scales + unit);
    }
  }

  // The outputs of one row, from its sums without bias.
  inline void Write(int64_t row, __m512i sums) const {
    sums = _mm512_add_epi32(sums, added_);
    if (output_.requantize) {
      sums = output_.rounding == kNearestEven
                 ? ShiftedOf<kNearestEven>(sums, shifts_)
             : output_.rounding == kTruncate
                 ? ShiftedOf<kTruncate>(sums, shifts_)
                 : ShiftedOf<kFloor>(sums, shifts_);
      sums = _mm512_max_epi32(sums, _mm512_set1_epi32(output_.low));
      sums = _mm512_min_epi32(sums, _mm512_set1_epi32(output_.high));
    }
    const int64_t at = row * all_ + unit_;
    if (output_.kind == kIntegerFloat) {
      float* to = static_cast<float*>(output_.outputs) + at;
      const __m512 floats = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), scales_);
      if (whole_) {
        _mm512_storeu_ps(to, floats);
      } else {
        _mm512_mask_storeu_ps(to, part_, floats);
      }
    } else if (output_.kind == kInteger32) {
      _mm512_mask_storeu_epi32(static_cast<int32_t*>(output_.outputs) + at,
                               part_, sums);
    } else if (output_.kind == kInteger16) {
      _mm256_mask_storeu_epi16(static_cast<int16_t*>(output_.outputs) + at,
                               part_, _mm512_cvtepi32_epi16(sums));
    } else {
      int8_t* to = static_cast<int8_t*>(output_.outputs) + at;
      const __m128i bytes = _mm512_cvtepi32_epi8(sums);
      if (whole_) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to), bytes);
      } else {
        _mm_mask_storeu_epi8(to, part_, bytes);
      }
    }
  }

 private:
  const IntegerOutput& output_;
  int64_t all_;
  int64_t unit_;
  bool whole_;
  __mmask16 part_;
  __m512i added_;
  __m512i shifts_;
  __m512 scales_;
};
