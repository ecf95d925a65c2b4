"""Counts against numbers worked out by hand and those of the papers."""

import pytest

from keras_compress.functional import cost

VGG16 = [
    # (side of the feature map, channels, filters)
    *[(224, 3, 64), (224, 64, 64)],
    *[(112, 64, 128), (112, 128, 128)],
    *[(56, 128, 256), (56, 256, 256), (56, 256, 256)],
    *[(28, 256, 512), (28, 512, 512), (28, 512, 512)],
    *[(14, 512, 512)] * 3,
]
VGG16_DENSE = [(25_088, 4096), (4096, 4096), (4096, 1000)]


def test_vgg16_has_its_published_multiply_adds():
    convolutions = sum(
        cost.convolution_multiply_adds((3, 3), channels, filters, side * side)
        for side, channels, filters in VGG16
    )
    dense = sum(cost.dense_multiply_adds(*shape) for shape in VGG16_DENSE)
    assert dense == 123_633_664
    assert convolutions + dense == 15_470_264_320


def test_vgg16_has_its_published_parameters():
    # A kernel applied once has as many multiply-adds as weights.
    weights = sum(
        cost.convolution_multiply_adds((3, 3), channels, filters, 1) + filters
        for _, channels, filters in VGG16
    )
    weights += sum(cost.dense_multiply_adds(*shape) for shape in VGG16_DENSE)
    assert weights + sum(units for _, units in VGG16_DENSE) == 138_357_544


@pytest.mark.parametrize(
    ("flop", "count"),
    [
        (576_000, cost.convolution_multiply_adds((5, 5), 1, 20, 24 * 24)),
        (3_200_000, cost.convolution_multiply_adds((5, 5), 20, 50, 8 * 8)),
        (800_000, cost.dense_multiply_adds(800, 500)),
        (10_000, cost.dense_multiply_adds(500, 10)),
    ],
)
def test_flop_of_lenet_5_are_those_of_hans_table(flop, count):
    assert 2 * count == flop


def test_groups_divide_the_work():
    whole = cost.convolution_multiply_adds((3,), 8, 16, positions=10)
    assert whole == 3 * 8 * 16 * 10
    assert cost.convolution_multiply_adds((3,), 8, 16, 10, groups=4) == whole // 4
    depthwise = cost.convolution_multiply_adds((3,), 8, 8, 10, groups=8)
    assert depthwise == 3 * 8 * 10


def test_einsum_finds_the_sizes_behind_an_ellipsis():
    assert cost.einsum_multiply_adds("abc,cd->abd", (2, 3, 4), (4, 5)) == 2 * 3 * 4 * 5
    behind = cost.einsum_multiply_adds("...x,xy->...y", (2, 3, 4), (4, 5))
    before = cost.einsum_multiply_adds("ax...,xy->ay...", (2, 4, 3), (4, 5))
    assert behind == before == 2 * 3 * 4 * 5
    with pytest.raises(ValueError, match="input_shape"):
        cost.einsum_multiply_adds("abc,cd->abd", (2, 3), (4, 5))


# Han et al., 2015, tables 3 and 4: (weights kept %, activations % of the layer's
# input, FLOP %). The first layer's input counts as dense.
HAN = [
    *[(8, 100, 8), (9, 38, 4), (26, 65, 17)],
    *[(66, 100, 66), (12, 82, 10), (8, 72, 6), (19, 55, 10)],
]


@pytest.mark.parametrize(("kept", "activations", "flop"), HAN)
def test_remaining_work_is_hans_flop_column(kept, activations, flop):
    share = cost.remaining_work(1 - kept / 100, 1 - activations / 100)
    # The paper rounds 3.42 to 4 (its inputs are rounded too) and 10.45 to 10.
    assert 100 * share == pytest.approx(flop, abs=0.6)


def test_a_product_shares_its_work_evenly():
    half = cost.Product(weights=10, kept=5, multiply_adds=1000)
    assert half.effective_multiply_adds == 500
    assert half.executed_multiply_adds == 1000, "a mask saves no work"
    sparse = cost.Product(10, 5, 1000, skips_zeros=True)
    assert sparse.executed_multiply_adds == 500
    attention = cost.Product(weights=0, kept=0, multiply_adds=70)
    assert attention.effective_multiply_adds == 70


def test_bytes_of_a_sparse_kernel():
    assert cost.sparse_bytes(nonzeros=10, inputs=784, units=3) == 10 * 6 + 4 * 4
    assert cost.sparse_bytes(nonzeros=10, inputs=65_536, units=1) == 10 * 6 + 8
    assert cost.sparse_bytes(nonzeros=10, inputs=65_537, units=1) == 10 * 8 + 8
    # Two blocks of 16 weights and an index; starts of two panels, and an end.
    assert cost.sparse_bytes(32, 784, 20, "panel16") == 2 * (16 * 4 + 2) + 4 * 3


def test_bytes_of_a_sparse_kernel_are_those_of_its_arrays():
    sparse = pytest.importorskip("keras_compress.functional.sparse")
    import numpy as np

    kernel = np.random.default_rng(0).normal(size=(50, 7)).astype("float32")
    kernel[np.abs(kernel) < 1] = 0
    stored = sum(array.nbytes for array in sparse.compress(kernel))
    assert cost.sparse_bytes(np.count_nonzero(kernel), 50, 7) == stored


def test_bytes_of_a_dense_kernel():
    assert cost.dense_bytes(10) == 40
    assert cost.dense_bytes(9, bits=1) == 2, "bits fill bytes, rounded up"


def test_energy_is_horowitzs():
    assert cost.arithmetic_energy(1) == pytest.approx(3.7 + 0.9)
    assert cost.arithmetic_energy(10, "int8") == pytest.approx(10 * (0.2 + 0.1))
    # Han's argument: a billion connections read 20 times a second are 12.8 W.
    assert cost.memory_energy(4e9) * 1e-12 * 20 == pytest.approx(12.8)
    with pytest.raises(TypeError):
        cost.ENERGY_PJ["dram_read"] = 0


@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (cost.dense_multiply_adds, (0, 3), "inputs"),
        (cost.dense_multiply_adds, (3, 2.5), "units"),
        (cost.convolution_multiply_adds, ((3, 0), 1, 1, 1), "window"),
        (cost.convolution_multiply_adds, ((3,), 4, 6, 1, 4), "filters"),
        (cost.sparse_bytes, (7, 2, 3), "nonzeros"),
        (cost.dense_bytes, (-1,), "weights"),
        (cost.remaining_work, (1.1,), "sparsity"),
        (cost.arithmetic_energy, (1, "float64"), "arithmetic"),
        (cost.memory_energy, (-4,), "byte_count"),
        (cost.Product, (3, 4, 5), "kept"),
    ],
)
def test_bad_arguments_are_named(function, arguments, name):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        function(*arguments)
