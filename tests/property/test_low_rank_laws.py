"""What is true of every low-rank approximation."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from keras_compress.functional import convolution, low_rank, ranks

matrices = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=8),
    elements=st.floats(-2, 2, width=16),
)
kernels = st.tuples(*[st.integers(1, 4)] * 4)
methods = st.sampled_from(list(convolution.FORMS))


def approximated(matrix, rank):
    left, right = low_rank.svd_factors(matrix, rank)
    return left @ right


@given(matrices)
def test_the_error_never_rises_with_the_rank_and_ends_at_nothing(matrix):
    errors = [
        np.linalg.norm(matrix - approximated(matrix, rank))
        for rank in range(1, min(matrix.shape) + 1)
    ]
    assert (np.diff(errors) <= 1e-9).all()
    assert errors[-1] <= 1e-9


@given(matrices)
def test_the_error_is_the_energy_that_is_left_out(matrix):
    spectrum = low_rank.singular_values(matrix)
    kept = ranks.kept_energy(spectrum)
    for rank in range(1, len(spectrum) + 1):
        error = np.linalg.norm(matrix - approximated(matrix, rank))
        expected = np.linalg.norm(matrix) * np.sqrt(max(0.0, 1.0 - kept[rank - 1]))
        np.testing.assert_allclose(error, expected, atol=1e-6)


@given(matrices, st.floats(0.01, 1.0))
def test_the_rank_for_an_energy_is_the_least(matrix, energy):
    spectrum = low_rank.singular_values(matrix)
    kept = ranks.kept_energy(spectrum)
    rank = ranks.energy_rank(spectrum, energy)
    assert kept[rank - 1] >= energy - 1e-9
    assert rank == 1 or kept[rank - 2] < energy


@given(st.integers(1, 40), st.integers(1, 40))
def test_one_rank_more_would_not_pay(inputs, outputs):
    rank = ranks.largest_rank_below(inputs, outputs)
    assert rank * (inputs + outputs) < inputs * outputs
    assert (rank + 1) * (inputs + outputs) >= inputs * outputs


@given(st.integers(1, 500), st.integers(1, 500), st.integers(1, 500))
def test_factors_never_pay_that_cost_more(inputs, outputs, rank):
    for batch in (1, 64):
        if ranks.factors_pay(inputs, outputs, rank, batch):
            assert rank <= ranks.largest_rank_below(inputs, outputs)


@given(kernels, methods, st.integers(1, 300))
def test_a_budget_of_weights_is_kept(shape, method, params):
    rank = convolution.rank_within(method, shape, params)
    least = 1 if method != "tucker" else (1, 1)
    assert rank == least or convolution.weights(method, shape, rank) <= params


@given(kernels, methods)
def test_what_is_decomposed_is_finite_and_composes_to_the_shape(shape, method):
    kernel = np.random.default_rng(0).standard_normal(shape)
    factors = convolution.decompose(method, kernel, 1)
    found = np.asarray(convolution.FORMS[method].compose(**factors))
    assert found.shape == shape
    assert np.isfinite(found).all()
    assert low_rank.relative_error(kernel, found) <= 1.0 + 1e-6
