"""What is true of every fixed-point format, against Python's fractions."""

import json
import math
from fractions import Fraction

import keras
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from keras_compress.functional.fixed_point import overflow_share, quantize
from keras_compress.functional.q_format import OVERFLOWS, QFormat

SURE = ("nearest_even", "truncate", "floor")
floats = st.floats(width=32, allow_nan=False, allow_infinity=False).filter(
    lambda x: x == 0 or abs(x) > 2.0**-60
)
near = st.floats(-300, 300, width=32).filter(lambda x: x == 0 or abs(x) > 2.0**-60)


@st.composite
def formats(draw, most=24, wide=False):
    signed = draw(st.booleans())
    fraction = draw(st.integers(-8, 30))
    bits = draw(st.integers(1, most))
    integer = None if wide and draw(st.booleans()) else bits - fraction
    overflow = draw(st.sampled_from(OVERFLOWS))
    return QFormat(integer, fraction, signed, overflow, draw(st.sampled_from(SURE)))


def by_fractions(x, q):
    """The definition, in whole numbers of any size."""
    exact = Fraction(float(x)) * Fraction(2) ** q.fraction_bits
    if q.rounding == "nearest_even":
        code = round(exact)
    else:
        code = math.trunc(exact) if q.rounding == "truncate" else math.floor(exact)
    if q.integer_bits is None:
        code = code if q.signed else max(code, 0)
    else:
        count = 2 ** (q.integer_bits + q.fraction_bits)
        low = -count if q.signed else 0
        if q.overflow == "saturate":
            code = min(max(code, low), count - 1)
        else:
            code = (code - low) % (count - low) + low
    return code * Fraction(2) ** -q.fraction_bits


@given(st.one_of(near, floats), formats(wide=True))
def test_quantizing_is_exact_in_float32(x, q):
    found = q.quantize(np.float32(x))
    assert found.dtype == np.float32
    assert Fraction(float(found)) == by_fractions(x, q), (x, q)


@given(near, formats(most=31))
def test_quantizing_is_exact_in_float64(x, q):
    found = q.quantize(np.float64(x))
    assert Fraction(float(found)) == by_fractions(x, q), (x, q)


@given(near, st.integers(-8, 20), st.integers(25, 31), st.booleans())
def test_a_format_wider_than_a_mantissa_stops_at_the_last_float(x, n, bits, signed):
    q = QFormat(bits - n, n, signed)
    found, exact = float(q.quantize(np.float32(x))), float(by_fractions(x, q))
    assert found <= q.max
    assert found == min(exact, float(np.nextafter(np.float32(q.max + q.resolution), 0)))


@given(near, formats(wide=True))
def test_quantizing_twice_is_quantizing_once(x, q):
    once = q.quantize(np.float32(x))
    assert q.quantize(once) == once


@given(near, formats())
def test_the_error_is_at_most_half_a_step_in_range(x, q):
    if not q.min <= x <= q.max:
        return
    error = abs(Fraction(float(q.quantize(np.float32(x)))) - Fraction(x))
    share = 2 if q.rounding == "nearest_even" else 1
    assert error * share <= Fraction(q.resolution)


@given(near, formats(wide=True), st.sampled_from(["sign_magnitude", "twos_complement"]))
def test_bits_go_both_ways(x, q, encoding):
    value = float(q.quantize(np.float64(x)))
    if encoding == "sign_magnitude" and value == q.min and q.signed:
        return
    text = q.to_bits(value, encoding)
    assert q.from_bits(text, encoding) == value
    if q.bits is not None:
        assert len(text.replace(" ", "")) == q.bits


@given(formats())
def test_names_of_hls_go_both_ways(q):
    assert QFormat.from_ap_fixed(q.to_ap_fixed()) == q


@given(formats(wide=True))
def test_a_format_goes_through_json(q):
    assert QFormat.from_config(json.loads(json.dumps(q.get_config()))) == q
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(q)))
    assert keras.saving.deserialize_keras_object(config) == q


@given(
    st.lists(near, min_size=3, max_size=3), st.lists(formats(), min_size=3, max_size=3)
)
def test_channels_are_formats_side_by_side(x, parts):
    kind = parts[0]
    parts = [
        QFormat(p.integer_bits, p.fraction_bits, kind.signed, kind.overflow)
        for p in parts
    ]
    whole = QFormat.per_channel(parts)
    x = np.array(x, np.float32)
    each = [part.quantize(value) for part, value in zip(parts, x, strict=True)]
    np.testing.assert_array_equal(whole.quantize(x), each)
    assert [whole.channel(i) for i in range(3)] == parts
    assert whole.bits == max(part.bits for part in parts)


@given(st.lists(near, min_size=1, max_size=8), formats(wide=True))
def test_what_overflows_is_what_the_range_changes(x, q):
    x = np.array(x)
    wide = QFormat(None, q.fraction_bits, True, rounding=q.rounding)
    if not q.signed and q.integer_bits is None:
        return
    changed = np.mean(q.quantize(x) != wide.quantize(x))
    assert overflow_share(x, q) == changed


@given(st.lists(near, min_size=1, max_size=8), formats(), st.sampled_from([1, 2, 8]))
def test_gradients_pass_straight_through(x, q, finer):
    import tensorflow as tf

    x = tf.constant(x, tf.float32)
    for gradient in ("identity", "clipped"):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = quantize(x, q, gradient=gradient, finer=float(finer))
        found = tape.gradient(y, x, tf.fill(x.shape, 3.0))
        inside = (x >= q.min) & (x <= np.float32(q.max))
        kept = np.ones(x.shape) if gradient == "identity" else inside
        np.testing.assert_array_equal(found, 3.0 * np.asarray(kept, float))
    if finer == 1:
        np.testing.assert_array_equal(ops.convert_to_numpy(y), q.quantize(x.numpy()))
