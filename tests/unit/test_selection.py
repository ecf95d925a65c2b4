"""The lowest of many numbers, held against a stable sort."""

import numpy as np
import pytest

from keras_compress.functional import selection

RANDOM = np.random.default_rng(0)


def expected(scores, dropped, count):
    """By sorting: what is dropped does not count, the earlier of equals goes first."""
    order = np.lexsort((np.arange(scores.size), scores))
    if dropped is not None:
        order = order[~dropped[order]]
    marked = np.zeros(scores.shape, bool) if dropped is None else dropped.copy()
    marked[order[: max(count, 0)]] = True
    return marked


@pytest.fixture(params=["small", "sampled"])
def small_blocks(request, monkeypatch):
    if request.param == "sampled":
        monkeypatch.setattr(selection, "BLOCK", 97)
        monkeypatch.setattr(selection, "SAMPLE", 200)


@pytest.mark.parametrize("kind", ["normal", "ties", "constant", "sorted", "integers"])
@pytest.mark.parametrize("share", [None, 0.3, 0.99])
def test_exactly_the_lowest(small_blocks, kind, share):
    scores = np.abs(RANDOM.standard_normal(5000)).astype("float32")
    scores = {
        "normal": scores,
        "ties": np.round(scores, 1),
        "constant": np.ones_like(scores),
        "sorted": np.sort(scores),
        "integers": (10 * scores).astype(int),
    }[kind]
    dropped = None if share is None else RANDOM.random(5000) < share
    for count in (-1, 0, 1, 7, 49, 1234, 2500, 4990, 4999, 5000, 6000):
        found = selection.lowest(scores, dropped, count)
        np.testing.assert_array_equal(found, expected(scores, dropped, count))


def test_a_sample_that_misleads(monkeypatch):
    monkeypatch.setattr(selection, "BLOCK", 97)
    monkeypatch.setattr(selection, "SAMPLE", 200)
    # Every number that the sample meets is large, all others are small.
    scores = RANDOM.random(5000)
    scores[:: (5000 // 200) | 1] += 5.0
    for count in (10, 2500, 4700, 4999):
        found = selection.lowest(scores, None, count)
        np.testing.assert_array_equal(found, expected(scores, None, count))


def test_infinite_numbers_come_last(small_blocks):
    scores = np.where(RANDOM.random(5000) < 0.9, np.inf, RANDOM.random(5000))
    for count in (100, 3000, 4999):
        found = selection.lowest(scores, None, count)
        np.testing.assert_array_equal(found, expected(scores, None, count))
