"""Budgets, regrowth by momentum and dropout in retraining, held against plain NumPy."""

import numpy as np
import pytest

from keras_compress.functional import budgets, regrowth, retraining

RANDOM = np.random.default_rng(0)


def test_a_budget_is_a_share_or_a_number():
    assert budgets.check_budget("weights", 0.25, 400) == 100.0
    assert budgets.check_budget("weights", 1.0, 400) == 400.0
    assert budgets.check_budget("weights", 1, 400) == 1.0
    assert budgets.check_budget("weights", np.int64(7), 400) == 7.0


@pytest.mark.parametrize("amount", [0, -1, 0.0, 1.5, True, "8 %", None, float("nan")])
def test_what_is_no_budget(amount):
    with pytest.raises(ValueError, match=r"`weights` must be a share in \(0, 1\]"):
        budgets.check_budget("weights", amount, 400)


def test_the_allowance_falls_to_the_budget_and_never_rises():
    assert [budgets.allowance(d, 100.0, 20.0) for d in (0, 0.5, 1)] == [100, 60, 20]
    # Compressed, all weights may take more than dense ones: that is no budget.
    assert budgets.allowance(1.0, 100.0, 150.0) == 100.0


@pytest.mark.parametrize("allowed", [1.0, 50.0, 333.0, 1000.0, 1e6])
def test_the_weights_kept_for_a_budget_are_those_that_sorting_finds(allowed):
    scores = [RANDOM.random(size).astype("float32") for size in (40, 200, 5)]
    costs = [9.0, 1.0, 3.0]
    sparsity = budgets.sparsity_for(allowed, scores, costs)
    by_score = sorted(
        (
            (score, cost)
            for layer, cost in zip(scores, costs, strict=True)
            for score in layer
        ),
        reverse=True,
    )
    spent, kept = 0.0, 0
    for _, cost in by_score:
        if spent + cost > allowed:
            break
        spent, kept = spent + cost, kept + 1
    assert sparsity == pytest.approx(1 - kept / 245)


def test_uniform_sparsity():
    assert budgets.uniform_sparsity(250, [1, 9], [100, 100]) == 0.75
    assert budgets.uniform_sparsity(5000, [1, 9], [100, 100]) == 0.0
    assert budgets.uniform_sparsity(-1, [1, 9], [100, 100]) == 1.0


def test_ever_fewer_weights_are_exchanged():
    shares = [regrowth.exchanged_share(done) for done in np.linspace(0, 1, 11)]
    np.testing.assert_allclose(shares[::5], [0.2, 0.1, 0.0], atol=1e-15)
    assert sorted(shares, reverse=True) == shares


@pytest.mark.parametrize(
    ("count", "shares", "room", "expected"),
    [
        (10, [3, 1, 1], [50, 50, 50], [6, 2, 2]),
        (10, [3, 1, 1], [4, 50, 50], [4, 3, 3]),
        (5, [0, 0], [50, 50], [3, 2]),
        (5, [1, 0], [2, 50], [2, 3]),
        (0, [1, 1], [5, 5], [0, 0]),
        (7, [1, 1, 1], [3, 3, 3], [3, 2, 2]),
    ],
)
def test_what_grows_is_divided_by_momentum(count, shares, room, expected):
    assert regrowth.redistribute(count, shares, room) == expected


def test_division_uses_every_weight_and_no_room_twice():
    for _ in range(50):
        room = RANDOM.integers(0, 30, 5)
        count = int(RANDOM.integers(0, room.sum() + 1))
        given = regrowth.redistribute(count, RANDOM.random(5) ** 4, room)
        assert sum(given) == count
        assert all(0 <= one <= most for one, most in zip(given, room, strict=True))


def test_mean_momentum_is_that_of_kept_weights():
    momentum, mask = np.array([[-2.0, 4.0, 9.0]]), np.array([[True, True, False]])
    assert regrowth.mean_momentum(momentum, mask) == 3.0
    assert regrowth.mean_momentum(momentum, ~(mask | True)) == 0.0


def test_dropout_follows_the_root_of_the_connections():
    assert retraining.retraining_rate(0.5, 100, 4) == pytest.approx(0.1)
    assert retraining.retraining_rate(0.5, 100, 100) == 0.5
    assert retraining.retraining_rate(0.5, 100, 0) == 0.0
    with pytest.raises(ValueError, match=r"`after` must be an integer in \[0, 4\]"):
        retraining.retraining_rate(0.5, 4, 5)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_dropped_is_inverted_dropout(dtype):
    inputs = RANDOM.standard_normal((400, 50)).astype(dtype)
    noise = RANDOM.random((400, 50)).astype("float32")
    found = np.asarray(retraining.dropped(inputs, 0.2, noise))
    assert found.dtype == dtype
    expected = np.where(noise >= 0.2, inputs / np.asarray(0.8, dtype), 0)
    np.testing.assert_allclose(found, expected, rtol=2e-3)


def test_what_is_infinite_stays_within_a_budget():
    layers = [np.array([3.0, np.inf]), np.array([5.0, 1.0])]
    assert budgets.sparsity_for(11.0, layers, costs=[1.0, 10.0]) == 0.5
