"""The brain surgeon, against least squares by hand and by brute force."""

import itertools

import numpy as np
import pytest

from keras_compress.functional import masks, patterns
from keras_compress.functional.brain_surgeon import refit, removal_costs


def problem(inputs=6, outputs=1, seed=0, rows=40):
    """Correlated inputs, their second moments, and a kernel."""
    random = np.random.default_rng(seed)
    data = random.normal(size=(rows, inputs)) @ random.normal(size=(inputs, inputs))
    return data, data.T @ data / rows, random.normal(size=(inputs, outputs))


def error(data, kernel, new):
    return np.mean(np.square(data @ kernel - data @ new))


@pytest.mark.parametrize("seed", range(5))
def test_refit_is_least_squares_on_the_inputs_that_stay(seed):
    data, moments, kernel = problem(outputs=3, seed=seed)
    mask = np.random.default_rng(seed).random(kernel.shape) < 0.6
    new = refit(kernel, mask, moments, damping=0.0)
    for column in range(3):
        kept = mask[:, column]
        expected = np.linalg.lstsq(data[:, kept], data @ kernel[:, column], rcond=None)
        np.testing.assert_allclose(new[kept, column], expected[0], rtol=1e-6, atol=1e-9)
        assert (new[~kept, column] == 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_the_first_cost_is_that_of_the_best_single_removal(seed):
    data, moments, kernel = problem(seed=seed)
    costs = removal_costs(kernel, moments, damping=0.0)
    errors = []
    for gone in range(6):
        mask = np.ones((6, 1), bool)
        mask[gone] = False
        errors.append(error(data, kernel, refit(kernel, mask, moments, damping=0.0)))
    assert costs.argmin() == np.argmin(errors)
    np.testing.assert_allclose(costs.min(), min(errors), rtol=1e-6)


def greedy(data, kernel, units):
    """By brute force: the order in which the cheapest unit goes, and the errors."""
    kept, order, errors = list(range(len(units))), [], []

    def without(gone):
        rows = np.concatenate([units[i] for i in kept if i != gone] or [[]]).astype(int)
        new = np.zeros(kernel.shape)
        if rows.size:
            new[rows] = np.linalg.lstsq(data[:, rows], data @ kernel, rcond=None)[0]
        return np.square(data @ kernel - data @ new).sum() / len(data)

    while kept:
        found = [(without(one), one) for one in kept]
        least, one = min(found)
        kept.remove(one)
        order.append(one)
        errors.append(least)
    return order, errors


@pytest.mark.parametrize("seed", range(4))
def test_inputs_go_in_the_order_of_brute_force(seed):
    data, moments, kernel = problem(inputs=9, seed=seed)
    order, errors = greedy(data, kernel, [[i] for i in range(9)])
    costs = removal_costs(kernel, moments, damping=0.0)[:, 0]
    assert costs.argsort().tolist() == order
    steps = np.maximum.accumulate(np.diff([0.0, *errors]))
    np.testing.assert_allclose(costs[order], steps, rtol=1e-5)


@pytest.mark.parametrize("rows", [1, 2, 4])
def test_blocks_go_in_the_order_of_brute_force(rows):
    data, moments, kernel = problem(inputs=9, outputs=3, seed=1)
    units = [list(range(i, min(i + rows, 9))) for i in range(0, 9, rows)]
    order, errors = greedy(data, kernel, units)
    costs = removal_costs(kernel, moments, pattern=(rows, 3), damping=0.0)
    assert (costs == costs[:, :1]).all()
    firsts = costs[::rows, 0]
    assert firsts.argsort().tolist() == order
    steps = np.maximum.accumulate(np.diff([0.0, *errors]))
    np.testing.assert_allclose(firsts[order], steps, rtol=1e-5)


def test_more_inputs_than_are_put_off():
    data, moments, kernel = problem(inputs=130, seed=2, rows=400)
    costs = removal_costs(kernel, moments, damping=0.0)[:, 0]
    order = costs.argsort()
    for count in (1, 60, 110):
        mask = np.ones((130, 1), bool)
        mask[order[:count]] = False
        now = error(data, kernel, refit(kernel, mask, moments, damping=0.0))
        mask[order[count]] = False
        then = error(data, kernel, refit(kernel, mask, moments, damping=0.0))
        assert costs[order[count]] >= (then - now) * (1 - 1e-6)
        steps = costs[order]
        if steps[count] > steps[count - 1] * (1 + 1e-6):
            np.testing.assert_allclose(steps[count], then - now, rtol=1e-5)


@pytest.mark.parametrize("pattern", ["1:2", "2:4", "1:4"])
def test_n_of_m_leaves_n_of_every_group(pattern):
    _, moments, kernel = problem(inputs=10, outputs=4)
    n, m = patterns.n_of_m(pattern)
    costs = removal_costs(kernel, moments, pattern=pattern)
    groups = np.isinf(np.concatenate([costs, np.zeros((-10 % m, 4))])).reshape(-1, m, 4)
    assert (groups.sum(axis=1) == n)[: 10 // m].all()
    mask = masks.mask_from_scores(
        costs, patterns.max_sparsity(pattern), pattern=pattern
    )
    np.testing.assert_array_equal(mask, np.isinf(costs))


def test_n_of_m_is_no_worse_than_any_other_choice_in_a_group():
    data, moments, kernel = problem(inputs=4, seed=3)
    costs = removal_costs(kernel, moments, pattern="2:4", damping=0.0)

    def left(kept):
        mask = np.isin(np.arange(4), kept)[:, None]
        return error(data, kernel, refit(kernel, mask, moments, damping=0.0))

    found = left(np.flatnonzero(np.isinf(costs[:, 0])))
    every = sorted(left(kept) for kept in itertools.combinations(range(4), 2))
    assert found <= every[1] + 1e-12, "greedy is not always best, but never far off"


def test_what_is_out_already_costs_nothing_and_counts_no_more():
    _, moments, kernel = problem(inputs=8, seed=4)
    mask = np.ones((8, 1), bool)
    mask[[2, 5]] = False
    costs = removal_costs(kernel, moments, mask=mask, damping=0.0)[:, 0]
    assert (costs[[2, 5]] == 0).all()
    # As if the two inputs had never been there.
    rest = np.flatnonzero(mask[:, 0])
    alone = removal_costs(kernel[rest], moments[np.ix_(rest, rest)], damping=0.0)[:, 0]
    np.testing.assert_allclose(costs[rest], alone, rtol=1e-6)


def test_inputs_that_are_always_zero_cost_nothing():
    _, moments, kernel = problem(inputs=5)
    moments[3], moments[:, 3] = 0.0, 0.0
    costs = removal_costs(kernel, moments)[:, 0]
    assert costs[3] == 0
    assert (np.delete(costs, 3) > 0).all()
    mask = np.ones((5, 1), bool)
    mask[3] = False
    np.testing.assert_allclose(
        refit(kernel, mask, moments)[:, 0], np.where(mask, kernel, 0.0)[:, 0], rtol=1e-9
    )


def test_a_neuron_costs_what_it_says():
    data, moments, kernel = problem(outputs=3)
    costs = removal_costs(kernel, moments, pattern="neuron")
    said = np.square(data @ kernel).mean(axis=0)
    np.testing.assert_allclose(costs, np.broadcast_to(said, costs.shape))


def test_uncorrelated_inputs_make_it_weight_times_norm():
    kernel = np.random.default_rng(0).normal(size=(5, 4))
    squares = np.array([0.1, 2.0, 1.0, 0.5, 4.0])
    costs = removal_costs(kernel, np.diag(squares), damping=0.0)
    np.testing.assert_allclose(costs, np.square(kernel) * squares[:, None])
    mask = costs > 0.2
    np.testing.assert_allclose(
        refit(kernel, mask, np.diag(squares)), np.where(mask, kernel, 0.0)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernel": np.ones(3)}, r"`kernel` must be an array \(inputs, outputs\)"),
        ({"moments": np.ones((2, 3))}, r"`moments` must be an array of shape \(3, 3\)"),
        ({"moments": np.full((3, 3), np.nan)}, "`moments` must be finite"),
        ({"mask": np.ones((2, 2), bool)}, r"`mask` must be an array of shape \(3, 1\)"),
        ({"damping": -1.0}, "`damping` must be a finite number >= 0"),
        ({"pattern": "rows"}, "`pattern` must be"),
    ],
)
def test_bad_arguments(change, message):
    given = {"kernel": np.ones((3, 1)), "moments": np.eye(3), **change}
    with pytest.raises(ValueError, match=message):
        removal_costs(**given)
