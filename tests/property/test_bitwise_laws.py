"""What is true of every sign, of every coding and of every bitwise kernel."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from keras import ops

from keras_compress.functional import bitwise as maths
from keras_compress.functional import coding
from keras_compress.functional.sign import STRAIGHT_THROUGH, sign, signs

numbers = st.floats(-4, 4, width=16)
matrices = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=2, max_dims=4, max_side=6), elements=numbers
)
unit = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=3, max_side=6),
    elements=st.floats(0, 1, width=32),
)


def array(tensor):
    return ops.convert_to_numpy(tensor)


@given(matrices, st.sampled_from(list(STRAIGHT_THROUGH)))
def test_a_sign_is_one_of_two_and_its_own_sign(x, name):
    found = array(sign(x, name))
    np.testing.assert_array_equal(found, np.where(x >= 0, 1, -1))
    np.testing.assert_array_equal(array(sign(found, name)), found)


@given(matrices, st.floats(0, 1))
def test_beta_drops_as_many_as_asked_and_none_that_is_larger(x, sparsity):
    beta = maths.beta_for(x, sparsity)
    kept = np.abs(x) > beta
    dropped = x.size - np.count_nonzero(kept)
    ties = np.count_nonzero(np.abs(x) == beta)
    count = round(sparsity * x.size)
    assert count <= dropped <= count + max(0, ties - 1)
    if beta >= 0:
        ternary = array(maths.ternary_weights(x, beta))
        np.testing.assert_array_equal(ternary, array(signs(x)) * kept)


@given(matrices, st.floats(0, 1), st.randoms())
def test_with_a_mask_too(x, sparsity, random):
    mask = np.array([random.random() < 0.7 for _ in range(x.size)]).reshape(x.shape)
    beta = maths.beta_for(x, sparsity, mask)
    kept = mask & (np.abs(x) > beta)
    assert x.size - np.count_nonzero(kept) >= round(sparsity * x.size)
    if beta >= 0:
        found = array(maths.ternary_weights(x, beta, mask=mask))
    else:
        found = array(maths.binary_weights(x, mask=mask))
    np.testing.assert_array_equal(found, array(signs(x)) * kept)


@given(matrices)
def test_ghosts_are_the_inverse_of_compression(x):
    weights = np.tanh(x)
    again = array(maths.compress(maths.ghosts_of(weights)))
    limit = maths.LARGEST_COMPRESSED
    np.testing.assert_allclose(again, np.clip(weights, -limit, limit), atol=1e-6)


@given(unit, st.integers(1, 8))
def test_bits_are_read_back_to_within_half_a_step(x, bits):
    words = array(coding.bits(x, bits)).reshape(*x.shape, bits)
    weights = 2.0 ** -np.arange(2, bits + 2)
    read = 0.5 + words @ weights
    assert np.abs(read - x).max() <= 0.5 / 2**bits + 1e-6


@given(st.integers(1, 7), st.sampled_from(coding.CODES))
def test_every_level_has_a_word_of_its_own(bits, code):
    table = coding.code_table(2**bits, code)
    assert len(np.unique(table, axis=0)) == 2**bits
    assert table.shape[1] == coding.word_length(2**bits, code)


@given(
    hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(-100, 100, width=16)),
    st.integers(1, 6),
)
def test_lloyd_max_levels_ascend_and_are_means_of_what_is_nearest(samples, levels):
    found = coding.lloyd_max_levels(samples, levels)
    assert found.shape == (levels,)
    assert (np.diff(found) >= 0).all()
    assert samples.min() - 1e-9 <= found.min()
    assert found.max() <= samples.max() + 1e-9
    if levels == 1:
        np.testing.assert_allclose(found, samples.mean(), atol=1e-9)
