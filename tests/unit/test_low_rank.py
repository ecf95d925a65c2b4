"""Factors of matrices: SVD exact, randomised, fitted to data; ranks by every rule."""

import numpy as np
import pytest

from keras_compress.functional import low_rank, ranks


def matrix_of(shape, spectrum=None, seed=0):
    """A random matrix, with these singular values if any are given."""
    random = np.random.default_rng(seed)
    matrix = random.standard_normal(shape)
    if spectrum is None:
        return matrix
    u, _, vt = np.linalg.svd(matrix, full_matrices=False)
    return u[:, : len(spectrum)] * spectrum @ vt[: len(spectrum)]


def tail(matrix, rank):
    """The error that no approximation of this rank is below (Eckart and Young)."""
    return np.linalg.norm(np.linalg.svd(matrix, compute_uv=False)[rank:])


@pytest.mark.parametrize("shape", [(30, 20), (20, 30)])
@pytest.mark.parametrize("exact", [True, None])
def test_the_truncated_svd_is_the_nearest(shape, exact):
    matrix = matrix_of(shape)
    u, s, vt = low_rank.truncated_svd(matrix, 5, exact=exact)
    assert np.linalg.norm(matrix - u * s @ vt) == pytest.approx(tail(matrix, 5))
    np.testing.assert_allclose(u.T @ u, np.eye(5), atol=1e-12)
    np.testing.assert_allclose(vt @ vt.T, np.eye(5), atol=1e-12)


@pytest.mark.parametrize("shape", [(400, 300), (300, 400)])
def test_the_randomised_svd_is_within_one_per_cent(shape):
    """Of a spectrum as flat as there is: that of noise."""
    matrix = matrix_of(shape).astype("float32")
    u, s, vt = low_rank.truncated_svd(matrix, 16, exact=False)
    assert u.dtype == np.float32
    assert np.linalg.norm(matrix - u * s @ vt) <= 1.01 * tail(matrix, 16)
    np.testing.assert_allclose(u.T @ u, np.eye(16), atol=1e-4)
    again = low_rank.truncated_svd(matrix, 16, exact=False)
    np.testing.assert_array_equal(again[0], u)


def test_factors_have_equal_norms():
    left, right = low_rank.svd_factors(matrix_of((30, 20)), 4)
    assert left.shape == (30, 4)
    assert right.shape == (4, 20)
    np.testing.assert_allclose(
        np.linalg.norm(left, axis=0), np.linalg.norm(right, axis=1)
    )


def test_a_kernel_of_zeros_can_still_be_trained():
    left, right = low_rank.svd_factors(np.zeros((5, 4)), 2)
    np.testing.assert_array_equal(left @ right, np.zeros((5, 4)))
    np.testing.assert_allclose(np.linalg.norm(right, axis=1), 1.0)


@pytest.mark.parametrize("shape", [(60, 50), (1200, 500), (500, 1200)])
def test_singular_values_of_small_and_large_matrices(shape):
    matrix = matrix_of(shape, np.array([9.0, 4.0, 1.0]))
    values = low_rank.singular_values(matrix)
    assert len(values) == min(shape)
    np.testing.assert_allclose(values[:3], [9.0, 4.0, 1.0])
    np.testing.assert_allclose(values[3:], 0.0, atol=1e-6)


def test_relative_error_of_zeros():
    assert low_rank.relative_error(np.zeros(3), np.zeros(3)) == 0.0
    assert low_rank.relative_error(np.zeros(3), np.ones(3)) == float("inf")


class TestDataAware:
    """Against least squares on the very inputs."""

    def inputs(self, seed=1):
        random = np.random.default_rng(seed)
        return random.standard_normal((500, 12)) * np.geomspace(10.0, 0.01, 12)

    def test_it_beats_the_svd_on_the_inputs_and_is_the_svd_of_the_outputs(self):
        kernel, inputs = matrix_of((12, 9)), self.inputs()
        second = inputs.T @ inputs / len(inputs)
        aware = low_rank.DataAware(kernel, second, damping=1e-12)
        left, right = aware.factors(3)
        error = np.linalg.norm(inputs @ kernel - inputs @ left @ right)
        assert error == pytest.approx(tail(inputs @ kernel, 3), rel=1e-6)
        plain = np.linalg.multi_dot([inputs, *low_rank.svd_factors(kernel, 3)])
        assert error < 0.5 * np.linalg.norm(inputs @ kernel - plain)
        outputs = np.linalg.svd(inputs @ kernel, compute_uv=False)
        np.testing.assert_allclose(aware.values, outputs / np.sqrt(500), rtol=1e-5)

    def test_inputs_that_have_changed_are_made_up_for(self):
        """Reduced-rank regression of what the outputs were on what there is now."""
        kernel, meant = matrix_of((12, 9)), self.inputs()
        got = meant @ (np.eye(12) + 0.3 * matrix_of((12, 12), seed=3))
        second, cross = got.T @ got / 500, got.T @ meant / 500
        aware = low_rank.DataAware(kernel, second, cross, damping=1e-12)
        left, right = aware.factors(3)
        fitted = np.linalg.lstsq(got, meant @ kernel, rcond=None)[0]
        best = tail(got @ fitted, 3)
        residual = np.linalg.norm(meant @ kernel - got @ fitted)
        error = np.linalg.norm(meant @ kernel - got @ left @ right)
        assert error == pytest.approx(np.hypot(best, residual), rel=1e-5)

    def test_what_no_input_uses_stays_finite_and_near_the_kernel(self):
        kernel, inputs = matrix_of((12, 9)), self.inputs()
        inputs[:, 6:] = 0.0
        aware = low_rank.DataAware(kernel, inputs.T @ inputs / len(inputs))
        left, right = aware.factors(9)
        np.testing.assert_allclose(left @ right, kernel, atol=1e-6)

    def test_no_inputs_at_all(self):
        left, right = low_rank.DataAware(np.ones((3, 2)), np.zeros((3, 3))).factors(1)
        np.testing.assert_allclose(left @ right, np.ones((3, 2)))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"second": np.eye(3)}, r"`second` must be of shape \(12, 12\)"),
            ({"cross": np.eye(3)}, r"`cross` must be of shape \(12, 12\)"),
            ({"second": np.full((12, 12), np.nan)}, "`second` must hold finite"),
            ({"kernel": np.zeros(3)}, "`kernel` must be a matrix"),
            ({"damping": 0.0}, "`damping` must be a finite number > 0"),
        ],
    )
    def test_bad_arguments(self, arguments, message):
        good = {"kernel": np.ones((12, 9)), "second": np.eye(12)}
        with pytest.raises(ValueError, match=message):
            low_rank.DataAware(**{**good, **arguments})


def test_energy_and_error_ranks():
    spectrum = [3.0, 2.0, 1.0, 0.0]  # energies 9, 4, 1, 0 of 14
    assert ranks.energy_rank(spectrum, 9 / 14) == 1
    assert ranks.energy_rank(spectrum, 0.65) == 2
    assert ranks.energy_rank(spectrum, 1.0) == 3
    assert ranks.error_rank(spectrum, 0.0) == 3
    assert ranks.error_rank(spectrum, np.sqrt(5 / 14) + 1e-9) == 1
    assert ranks.energy_rank([0.0, 0.0], 0.9) == 1


def test_the_rank_that_pays_is_the_papers():
    assert ranks.largest_rank_below(1024, 1024) == 511
    assert ranks.largest_rank_below(784, 1024) == 444 - 1 + (784 * 1024 % 1808 > 0)
    assert ranks.largest_rank_below(1, 5) == 0


def test_gavish_and_donoho_on_square_noise():
    """omega(1) = 2.858 is the published number for square matrices."""
    spectrum = np.array([2.87, 2.85, 1.0, 1.0, 1.0])
    assert ranks.gavish_donoho_rank(spectrum, (5, 5)) == 1
    assert ranks.gavish_donoho_rank([2.9, 2.87, 1.0, 1.0, 1.0], (5, 5)) == 2


@pytest.mark.parametrize("rule", [ranks.gavish_donoho_rank, ranks.evbmf_rank])
@pytest.mark.parametrize("shape", [(80, 120), (120, 80), (100, 100)])
def test_a_signal_in_noise_is_found(rule, shape):
    signal = matrix_of(shape, np.array([90.0, 80.0, 70.0]))
    noisy = signal + matrix_of(shape, seed=5)
    spectrum = np.linalg.svd(noisy, compute_uv=False)
    assert rule(spectrum, shape) == 3
    noise = np.linalg.svd(matrix_of(shape, seed=6), compute_uv=False)
    assert rule(noise, shape) == 1
    assert rule(np.zeros(80), shape) == 1


@pytest.mark.parametrize("batch", [1, 64])
def test_factors_that_cost_more_never_pay(batch):
    for rank in (512, 600, 1024):
        assert not ranks.factors_pay(1024, 1024, rank, batch)
    assert ranks.factors_pay(1024, 1024, 64, batch)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: low_rank.truncated_svd(np.eye(3), 4),
            r"`rank` must be an .* \[1, 3\]",
        ),
        (
            lambda: low_rank.truncated_svd(np.eye(3), 0),
            r"`rank` must be an .* \[1, 3\]",
        ),
        (lambda: low_rank.truncated_svd(np.eye(3), 1.5), "`rank` must be an integer"),
        (
            lambda: low_rank.svd_factors(np.zeros((0, 3)), 1),
            "`matrix` must be a matrix",
        ),
        (
            lambda: low_rank.svd_factors([[1.0, np.inf], [np.nan, 1.0]], 1),
            "`matrix` must hold finite numbers. Received: 2 that are NaN or inf",
        ),
        (
            lambda: ranks.energy_rank([1.0], 0.0),
            r"`energy` must .* in \(0, 1\]",
        ),
        (
            lambda: ranks.energy_rank([1.0], 1.1),
            r"`energy` must .* in \[0, 1\]",
        ),
        (
            lambda: ranks.error_rank([1.0], 1.0),
            r"`max_error` must .* in \[0, 1",
        ),
        (lambda: ranks.energy_rank([1.0, 2.0], 0.5), "`spectrum` must be falling"),
        (lambda: ranks.check_params(0), "`params` must be an integer >= 1"),
        (lambda: ranks.check_params(1.5), r"`params` must be a number in \[0, 1\]"),
        (lambda: ranks.check_params(True), "`params` must be an integer >= 1 or a"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
