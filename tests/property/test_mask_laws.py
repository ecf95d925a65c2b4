"""What is true of every mask."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from keras_compress.functional import masks
from keras_compress.functional.patterns import max_sparsity

matrices = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=4, max_side=9),
    elements=st.floats(-2, 2, width=16),
)
fractions = st.floats(0, 1)
patterns = st.one_of(
    st.none(),
    st.just("neuron"),
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.sampled_from(["1:2", "2:4", "3:5"]),
)


@given(matrices, fractions)
def test_the_count_is_exact_and_what_stays_is_not_smaller(kernel, sparsity):
    mask = masks.magnitude_mask(kernel, sparsity)
    assert np.count_nonzero(~mask) == round(sparsity * kernel.size)
    if mask.any() and not mask.all():
        assert np.abs(kernel)[mask].min() >= np.abs(kernel)[~mask].max()


@given(matrices, patterns, fractions, fractions)
def test_without_regrowth_masks_only_shrink(kernel, pattern, one, other):
    most = max_sparsity(pattern)
    scores = np.abs(kernel)
    first = masks.mask_from_scores(scores, one * most, pattern=pattern)
    second = masks.mask_from_scores(
        scores, other * most, pattern=pattern, mask=first, regrow=False
    )
    assert not (second & ~first).any()


@given(matrices, patterns, fractions)
def test_pruning_again_to_the_same_changes_nothing(kernel, pattern, fraction):
    sparsity = fraction * max_sparsity(pattern)
    first = masks.magnitude_mask(kernel, sparsity, pattern=pattern)
    again = masks.magnitude_mask(kernel, sparsity, pattern=pattern, mask=first)
    np.testing.assert_array_equal(first, again)


@given(matrices, st.integers(1, 5), st.integers(1, 5), fractions)
def test_the_count_of_blocks_is_exact(kernel, rows, columns, sparsity):
    mask = masks.magnitude_mask(kernel, sparsity, pattern=(rows, columns))
    matrix = mask.reshape(-1, mask.shape[-1])
    blocks = [
        matrix[i : i + rows, j : j + columns]
        for i in range(0, matrix.shape[0], rows)
        for j in range(0, matrix.shape[1], columns)
    ]
    assert all(block.all() or not block.any() for block in blocks)
    dropped = sum(not block.any() for block in blocks)
    assert dropped == round(sparsity * len(blocks))


@given(matrices, st.integers(1, 4), st.integers(1, 4))
def test_n_of_m_keeps_n_of_every_m(kernel, n, more):
    m = n + more
    mask = masks.magnitude_mask(kernel, 1 - n / m, pattern=f"{n}:{m}")
    matrix = mask.reshape(-1, mask.shape[-1])
    for start in range(0, len(matrix) - m + 1, m):
        assert (matrix[start : start + m].sum(axis=0) == n).all()


@given(st.lists(matrices, min_size=1, max_size=4), fractions)
def test_a_global_cut_is_a_cut_of_the_joined_weights(kernels, sparsity):
    scores = [np.abs(kernel) for kernel in kernels]
    joined = np.concatenate([layer.ravel() for layer in scores])[:, None]
    expected = masks.mask_from_scores(joined, sparsity).ravel()
    found = masks.global_masks(scores, sparsity)
    np.testing.assert_array_equal(
        np.concatenate([mask.ravel() for mask in found]), expected
    )
