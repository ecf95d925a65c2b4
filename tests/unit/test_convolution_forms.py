"""Low-rank convolutions: every form against the whole convolution, and its counts."""

import keras
import numpy as np
import pytest

from keras_compress.functional import convolution, tensors
from keras_compress.functional.convolution_geometry import Geometry
from keras_compress.functional.low_rank import relative_error

CLUSTERS = (2, 3)
METHODS = list(convolution.FORMS)


def kernel_of(shape=(3, 5, 8, 6), seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def factors_of(method, kernel, rank):
    found = convolution.decompose(method, kernel, rank, CLUSTERS)
    kinds = {"f": "float32", "i": "int32"}
    return {
        name: value.astype(kinds[value.dtype.kind]) for name, value in found.items()
    }


def composed(method, factors):
    return np.asarray(convolution.FORMS[method].compose(**factors))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "geometry",
    [
        ((1, 1), "same", (1, 1)),
        ((2, 2), "same", (1, 1)),
        ((2, 1), "same", (1, 1)),
        ((3, 2), "valid", (1, 1)),
        ((1, 1), "same", (2, 1)),
        ((1, 1), "valid", (2, 2)),
    ],
)
def test_the_steps_are_the_convolution_with_their_product(method, geometry):
    factors = factors_of(method, kernel_of(), 3)
    images = np.random.default_rng(1).standard_normal((2, 11, 13, 8)).astype("float32")
    outputs = convolution.FORMS[method].forward(images, Geometry(*geometry), **factors)
    kernel = composed(method, factors)
    strides, padding, rates = geometry
    expected = keras.ops.conv(images, kernel, strides, padding, "channels_last", rates)
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_counts_are_those_of_the_arrays(method):
    kernel = kernel_of()
    factors = factors_of(method, kernel, 3)
    sizes = [value.size for value in factors.values() if value.dtype.kind == "f"]
    assert convolution.weights(method, kernel.shape, 3, CLUSTERS) == sum(sizes)


def test_counts_are_the_papers():
    """With C, F, X, Y = 8, 6, 3, 5 and K = 3, the tables' formulas by hand."""
    shape = (3, 5, 8, 6)
    expected = {
        "svd": 3 * (15 * 8 + 6),
        "channel_svd": 3 * (8 + 15 * 6),
        "spatial": 3 * (3 * 8 + 5 * 6),
        "tucker": 8 * 3 + 15 * 9 + 3 * 6,
        "cp": 3 * (8 + 3 + 5 + 6),
        "monochromatic": 8 * 3 + 15 * 6,
        "bicluster": 2 * 3 * 3 * (8 // 2 + 15 + 6 // 3),
    }
    found = {m: convolution.weights(m, shape, 3, CLUSTERS) for m in METHODS}
    assert found == expected


@pytest.mark.parametrize("side", [3, 5, 11])
def test_the_lectures_count(side):
    """A 3 x D x D filter as two outer products: 4 D + 6 numbers, not 3 D^2."""
    filters = kernel_of((side, side, 3, 1))
    assert convolution.weights("cp", filters.shape, 2) == 4 * side + 6
    assert sum(f.size for f in factors_of("cp", filters, 2).values()) == 4 * side + 6


def test_the_channel_mix_before_a_stride_counts_for_every_pixel():
    count = convolution.multiply_adds("channel_svd", (3, 3, 8, 6), 2, strides=(2, 3))
    assert count == 6 * 8 * 2 + 9 * 2 * 6
    count = convolution.multiply_adds("spatial", (3, 5, 8, 6), 2, strides=(2, 3))
    assert count == 3 * 3 * 8 * 2 + 5 * 2 * 6
    count = convolution.multiply_adds("cp", (3, 5, 8, 6), 2, strides=(2, 2))
    assert count == 4 * 8 * 2 + 15 * 2 + 2 * 6


@pytest.mark.parametrize("method", METHODS)
def test_a_kernel_of_the_form_is_found_again(method):
    """Its own product loses nothing when it is decomposed once more."""
    kernel = composed(method, factors_of(method, kernel_of(), 2))
    again = composed(method, factors_of(method, kernel, 2))
    assert relative_error(kernel, again) < 0.01


@pytest.mark.parametrize("method", ["svd", "channel_svd", "spatial", "tucker"])
def test_the_full_rank_loses_nothing(method):
    kernel = kernel_of()
    rank = convolution.FORMS[method].largest_rank(kernel.shape, CLUSTERS)
    assert relative_error(
        kernel, composed(method, factors_of(method, kernel, rank))
    ) < (1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_the_rank_for_a_budget_is_the_largest_that_fits(method):
    shape = (3, 5, 8, 6)
    rank = convolution.rank_within(method, shape, 300, CLUSTERS)
    assert convolution.weights(method, shape, rank, CLUSTERS) <= 300 or rank == 1
    assert convolution.rank_within(method, shape, 300 / 720, CLUSTERS) == rank
    largest = convolution.FORMS[method].largest_rank(shape, CLUSTERS)
    if isinstance(rank, int) and rank < largest:
        more = convolution.weights(method, shape, rank + 1, CLUSTERS)
        assert more > 300
    least = convolution.rank_within(method, shape, 1, CLUSTERS)
    assert least == ((1, 1) if method == "tucker" else 1)


@pytest.mark.parametrize("method", METHODS)
def test_the_rank_for_an_error_keeps_it(method):
    kernel = composed("cp", factors_of("cp", kernel_of(), 4)) + 0.01 * kernel_of(seed=3)
    rank = convolution.rank_with_error(method, kernel, 0.3, CLUSTERS)
    if rank is None:  # clusters may not come near at any rank
        assert method in ("monochromatic", "bicluster")
        return
    assert relative_error(
        kernel, composed(method, factors_of(method, kernel, rank))
    ) <= (0.3)
    if isinstance(rank, int) and rank > 1:
        less = composed(method, factors_of(method, kernel, rank - 1))
        assert relative_error(kernel, less) > 0.3


class TestTensors:
    """Against TensorLy, where it is at hand, and by hand."""

    def test_tucker_is_no_worse_than_tensorlys(self):
        decomposition = pytest.importorskip("tensorly.decomposition")
        tenalg = pytest.importorskip("tensorly.tenalg")
        kernel = kernel_of((3, 3, 10, 12)).astype("float64")
        mix_in, core, mix_out = tensors.tucker2(kernel, (4, 5))
        ours = np.einsum("cr,hwrs,sf->hwcf", mix_in, core, mix_out)
        (core, factors), _ = decomposition.partial_tucker(
            kernel, rank=[4, 5], modes=[2, 3], n_iter_max=200, tol=1e-8
        )
        theirs = tenalg.multi_mode_dot(core, factors, modes=[2, 3])
        error = relative_error(kernel, ours)
        assert error <= relative_error(kernel, theirs) + 1e-4

    def test_cp_is_no_worse_than_tensorlys(self):
        decomposition = pytest.importorskip("tensorly.decomposition")
        cp_tensor = pytest.importorskip("tensorly.cp_tensor")
        kernel = kernel_of((3, 3, 6, 7)).astype("float64")
        ours = np.einsum("hr,wr,cr,fr->hwcf", *tensors.cp(kernel, 5))
        found = decomposition.parafac(kernel, 5, n_iter_max=200, init="svd")
        theirs = cp_tensor.cp_to_tensor(found)
        assert relative_error(kernel, ours) <= 1.01 * relative_error(kernel, theirs)

    def test_cp_finds_outer_products(self):
        factors = [
            np.random.default_rng(k).standard_normal((4 + k, 2)) for k in range(3)
        ]
        tensor = np.einsum("ar,br,cr->abc", *factors)
        found = np.einsum("ar,br,cr->abc", *tensors.cp(tensor, 2))
        assert relative_error(tensor, found) < 1e-2

    def test_the_norms_of_cp_are_even(self):
        norms = [np.linalg.norm(f, axis=0) for f in tensors.cp(kernel_of(), 3)]
        np.testing.assert_allclose(norms, np.broadcast_to(norms[0], (4, 3)))

    def test_cp_of_zeros(self):
        assert all(np.isfinite(f).all() for f in tensors.cp(np.zeros((2, 3, 4)), 2))

    def test_clusters_of_lines(self):
        red, blue = np.array([1.0, 0.0]), np.array([0.6, 0.8])
        items = np.stack([2 * red, blue, -red, 3 * blue])[:, :, None]
        lines, groups = tensors.line_clusters(items, 2)
        assert groups[0] == groups[2] != groups[1] == groups[3]
        np.testing.assert_allclose(abs(lines[:, groups[0]] @ red), 1.0)

    def test_equal_clusters_are_equal(self):
        items = np.abs(kernel_of((12, 3, 1, 1))[..., 0])
        _, groups = tensors.line_clusters(items, 4, equal=True)
        np.testing.assert_array_equal(np.bincount(groups), [3, 3, 3, 3])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda k: convolution.decompose("svd", k, 7), r"`rank` must be .* \[1, 6\]"),
        (lambda k: convolution.decompose("tucker", k, (9, 1)), r"`rank` .* \[1, 8\]"),
        (lambda k: convolution.decompose("tucker", k, (1, 2, 3)), "`rank` .* a pair"),
        (lambda k: convolution.decompose("cp", k, 0), "`rank` must be an integer"),
        (
            lambda k: convolution.decompose("cp", k * np.nan, 1),
            "`kernel` must hold fin",
        ),
        (lambda k: convolution.decompose("bicluster", k, 1, (3, 2)), "`clusters` mu"),
        (lambda k: convolution.check_method("qr"), "`method` must be one of 'svd'"),
        (lambda k: convolution.check_clusters(2), "`clusters` must be a pair"),
        (lambda k: convolution.rank_with_error("svd", k, 1.0), "`max_error` must be"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call(kernel_of())


def test_no_form_is_free():
    for method in METHODS:
        assert convolution.weights(method, (3, 3, 4, 6), 1, CLUSTERS) > 0
    for method in ("svd", "channel_svd", "spatial", "tucker"):
        assert not convolution.pays(method, (1, 1, 6, 6), 3)
        assert convolution.pays(method, (3, 3, 16, 16), 2)
