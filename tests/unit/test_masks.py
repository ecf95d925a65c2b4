"""Masks, against examples worked out by hand."""

import numpy as np
import pytest

from keras_compress.functional import masks, patterns

KERNEL = np.array([[0.1, -0.9], [0.5, 0.2], [-0.3, 0.8], [0.7, -0.4]])


def kept(mask):
    return mask.astype(int).tolist()


def test_the_largest_magnitudes_stay():
    mask = masks.magnitude_mask(KERNEL, 0.5)
    assert kept(mask) == [[0, 1], [1, 0], [0, 1], [1, 0]]


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.49, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("size", [1, 7, 10])
def test_the_count_is_exact_even_if_all_are_equal(sparsity, size):
    mask = masks.magnitude_mask(np.ones((size, 1)), sparsity)
    assert np.count_nonzero(~mask) == round(sparsity * size)


def test_of_equals_the_first_go_first():
    mask = masks.magnitude_mask(np.ones((2, 3)), 0.5)
    assert kept(mask) == [[0, 0, 0], [1, 1, 1]]


def test_agrees_with_a_stable_sort_on_many_ties():
    scores = np.random.default_rng(0).integers(0, 5, (40, 30)).astype(float)
    for sparsity in np.linspace(0, 1, 13):
        expected = np.ones(scores.size, bool)
        count = round(sparsity * scores.size)
        expected[np.argsort(scores.ravel(), kind="stable")[:count]] = False
        mask = masks.mask_from_scores(scores, sparsity)
        np.testing.assert_array_equal(mask.ravel(), expected)


def test_what_was_dropped_goes_first_and_comes_back_best_first():
    before = np.array([[True, False], [True, False], [True, True], [True, True]])
    more = masks.magnitude_mask(KERNEL, 3 / 8, mask=before)
    assert kept(more) == [[0, 0], [1, 0], [1, 1], [1, 1]]
    fewer = masks.magnitude_mask(KERNEL, 1 / 8, mask=before)
    assert kept(fewer) == [[1, 1], [1, 0], [1, 1], [1, 1]]
    same = masks.mask_from_scores(np.abs(KERNEL), 0.0, mask=before, regrow=False)
    assert kept(same) == kept(before)


def test_threshold_is_exclusive_and_keeps_what_was_dropped():
    assert kept(masks.threshold_mask([[0.1, 0.2, 0.3]], 0.2)) == [[0, 1, 1]]
    mask = masks.threshold_mask([[0.1, 0.2, 0.3]], 0.0, mask=[[True, False, True]])
    assert kept(mask) == [[1, 0, 1]]


def test_blocks_live_and_die_together():
    mask = masks.magnitude_mask(KERNEL, 0.5, pattern=(2, 1))
    # Mean magnitudes of the blocks: 0.3 and 0.55 above, 0.5 and 0.6 below.
    assert kept(mask) == [[0, 1], [0, 1], [0, 1], [0, 1]]


def test_blocks_are_cut_at_the_edges():
    kernel = np.arange(1.0, 16.0).reshape(5, 3)
    mask = masks.magnitude_mask(kernel, 0.5, pattern=(4, 2))
    # Four blocks, of which the upper two have the lower means.
    assert kept(mask) == [[0, 0, 0]] * 4 + [[1, 1, 1]]


def test_a_block_pattern_larger_than_the_kernel():
    mask = masks.magnitude_mask(np.ones((32, 2)), 0.5, pattern=(4, 4))
    assert np.count_nonzero(~mask) == 32
    assert kept(mask)[:16] == [[0, 0]] * 16


def test_neurons_are_columns_of_any_kernel():
    kernel = np.ones((3, 3, 2, 4)) * np.array([4.0, 1.0, 3.0, 2.0])
    mask = masks.magnitude_mask(kernel, 0.5, pattern="neuron")
    assert mask.all(axis=(0, 1, 2)).tolist() == [True, False, True, False]
    assert mask.any(axis=(0, 1, 2)).tolist() == [True, False, True, False]


def test_n_of_m_keeps_the_best_n_of_every_m_inputs():
    mask = masks.magnitude_mask(KERNEL, 0.5, pattern="2:4")
    assert kept(mask) == [[0, 1], [1, 0], [0, 1], [1, 0]]


def test_n_of_m_on_the_way_drops_the_smallest_candidates():
    mask = masks.magnitude_mask(KERNEL, 0.25, pattern="2:4")
    assert kept(mask) == [[0, 1], [1, 0], [1, 1], [1, 1]]


def test_n_of_m_counts_a_short_group_as_filled_with_zeros():
    mask = masks.magnitude_mask(np.arange(1.0, 8.0).reshape(7, 1), 0.5, pattern="2:4")
    # Of the last three, with one zero behind them, one goes.
    assert mask.ravel().astype(int).tolist() == [0, 0, 1, 1, 0, 1, 1]


def test_n_of_m_cannot_get_sparser():
    assert patterns.max_sparsity("1:4") == 0.75
    with pytest.raises(ValueError, match=r"`sparsity` must be <= 0\.5 for .* '2:4'"):
        masks.magnitude_mask(KERNEL, 0.6, pattern="2:4")


def test_one_cut_through_several_layers():
    small, large = np.array([[0.1, 0.2]]), np.array([[0.3, 5.0], [0.15, 6.0]])
    first, second = masks.global_masks([small, large], 0.5)
    assert kept(first) == [[0, 0]]
    assert kept(second) == [[1, 1], [0, 1]]


def test_a_global_cut_with_blocks_takes_as_many_as_fit():
    blocks, single = np.array([[1.0], [1.0], [9.0], [9.0]]), np.array([[0.5, 2.0]])
    first, second = masks.global_masks([blocks, single], 0.5, patterns=[(2, 1), None])
    assert kept(first) == [[0], [0], [1], [1]]
    assert kept(second) == [[0, 1]]
    first, second = masks.global_masks([blocks, single], 0.8, patterns=[(2, 1), None])
    assert kept(first) == [[0], [0], [1], [1]], "4.8 weights are not enough for both"
    assert kept(second) == [[0, 0]]


def test_a_global_cut_keeps_what_was_dropped():
    first, second = masks.global_masks(
        [np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]])],
        0.25,
        masks=[None, np.array([[True, False]])],
    )
    assert kept(first) == [[1, 1]]
    assert kept(second) == [[1, 0]]


@pytest.mark.parametrize("pattern", [None, "neuron", "2:4", (1, 16), (4, 4)])
def test_empty_kernels(pattern):
    assert masks.magnitude_mask(np.ones((4, 0)), 0.5, pattern=pattern).shape == (4, 0)


@pytest.mark.parametrize(
    "pattern",
    [
        *("4:2", "2:2", "0:4", "2:4:8", "row", ""),
        *((1,), (0, 4), (1, 2, 3), (1.5, 2), (True, 2)),
        *(7, {"1": 2}),
    ],
)
def test_unknown_patterns(pattern):
    with pytest.raises(ValueError, match="`pattern` must be `None`, "):
        masks.magnitude_mask(KERNEL, 0.5, pattern=pattern)


@pytest.mark.parametrize("sparsity", [-0.1, 1.1, float("nan"), "0.5", None, True])
def test_bad_sparsities(sparsity):
    with pytest.raises(ValueError, match="`sparsity` must be a number in"):
        masks.magnitude_mask(KERNEL, sparsity)


@pytest.mark.parametrize("threshold", [-0.1, float("nan"), float("inf"), "1"])
def test_bad_thresholds(threshold):
    with pytest.raises(ValueError, match="`threshold` must be a finite number >= 0"):
        masks.threshold_mask(KERNEL, threshold)


def test_nan_and_wrong_masks_are_refused():
    with pytest.raises(ValueError, match="NaN among the scores"):
        masks.magnitude_mask(np.array([[1.0, np.nan]]), 0.5)
    with pytest.raises(ValueError, match=r"`mask` must be an array of shape \(4, 2\)"):
        masks.magnitude_mask(KERNEL, 0.5, mask=np.ones((2, 4), bool))


@pytest.mark.parametrize("pattern", ["neuron", "2:4", (1, 16), (4, 4)])
def test_what_was_masked_alone_stays_masked(pattern):
    random = np.random.default_rng(0)
    scores = random.random((64, 64))
    before = random.random((64, 64)) < 0.1
    how = {"pattern": pattern, "mask": before}
    for new in (
        masks.mask_from_scores(scores, 0.5, regrow=False, **how),
        masks.threshold_mask(scores, 0.01, **how),
        *masks.global_masks(
            [scores], 0.5, patterns=[pattern], masks=[before], regrow=False
        ),
    ):
        assert not (new & ~before).any()


@pytest.mark.parametrize("shape", [(300, 100), (784, 300), (30, 7)])
@pytest.mark.parametrize("pattern", [None, "neuron", "2:4", (1, 16), (4, 4)])
@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.5])
def test_the_share_of_units_is_what_was_asked_for(shape, pattern, sparsity):
    scores = np.random.default_rng(0).random(shape)
    mask = masks.mask_from_scores(scores, sparsity, pattern=pattern)
    again = masks.dropped_share(mask, pattern)
    assert abs(again - sparsity) <= 0.5 / 7
    # Asking for it again changes nothing, though blocks at the edges are smaller.
    same = masks.mask_from_scores(scores, again, pattern=pattern, mask=mask)
    np.testing.assert_array_equal(same, mask)


def test_the_most_that_a_pattern_lets_go():
    for inputs in range(1, 14):
        scores = np.random.default_rng(0).random((inputs, 3))
        mask = masks.mask_from_scores(scores, 0.5, pattern="2:4")
        most = patterns.most_dropped(inputs, 3, "2:4")
        assert np.count_nonzero(~mask) == min(round(0.5 * 3 * inputs), most)
