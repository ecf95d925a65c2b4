"""Schedules, against numbers worked out by hand."""

import json

import pytest

from keras_compress import schedules

EVERY = [
    schedules.Constant(0.9, start=0.25),
    schedules.Cubic(0.92, initial=0.5, start=0.1, end=0.6),
    schedules.Rounds(0.9, rounds=3),
]


def test_cubic_is_zhu_and_guptas_polynomial():
    schedule = schedules.Cubic(0.8, initial=0.2, start=0.25, end=0.75)
    assert schedule(0.0) == 0.0
    assert schedule(0.2499) == 0.0
    assert schedule(0.25) == pytest.approx(0.2)
    assert schedule(0.5) == pytest.approx(0.8 - 0.6 * 0.5**3)
    assert schedule(0.75) == schedule(1.0) == 0.8


def test_rounds_keep_the_same_share_each_time():
    schedule = schedules.Rounds(1 - 0.5**3, rounds=3)
    # The end of a round is the start of the next, also where thirds are not exact.
    thirds = [0.0, 0.33, 1 / 3, 0.66, 2 / 3, 1.0]
    values = [schedule(progress) for progress in thirds]
    assert values == pytest.approx([0.5, 0.5, 0.75, 0.75, 0.875, 0.875])
    assert schedule(1.0) == 0.875


def test_rounds_to_full_sparsity_go_in_equal_steps():
    schedule = schedules.Rounds(1.0, rounds=4)
    assert [schedule(i / 4) for i in range(4)] == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize("rounds", range(1, 60))
def test_no_round_is_late_by_rounding(rounds):
    schedule = schedules.Rounds(0.9, rounds=rounds)
    for number in range(rounds):
        expected = 1 - 0.1 ** ((number + 1) / rounds)
        assert schedule(number / rounds) == pytest.approx(expected)


def test_constant_prunes_once():
    schedule = schedules.Constant(0.9, start=0.5)
    assert (schedule(0.0), schedule(0.49), schedule(0.5)) == (0.0, 0.0, 0.9)


@pytest.mark.parametrize("schedule", EVERY, ids=repr)
def test_the_end_is_where_it_stops_changing(schedule):
    assert schedule(schedule.end) == schedule.final == schedule(1.0)
    assert schedule(max(schedule.end - 1e-3, 0.0)) < schedule.final


@pytest.mark.parametrize("schedule", EVERY, ids=repr)
def test_they_go_to_json_and_back(schedule):
    config = json.loads(json.dumps(schedule.get_config()))
    assert type(schedule).from_config(config) == schedule


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: schedules.Constant(1.2), "sparsity"),
        (lambda: schedules.Constant(0.5, start=1.0), "start"),
        (lambda: schedules.Cubic(float("nan")), "sparsity"),
        (lambda: schedules.Cubic(0.5, initial=0.6), "initial"),
        (lambda: schedules.Cubic(0.5, start=-0.1), "start"),
        (lambda: schedules.Cubic(0.5, start=0.5, end=0.5), "end"),
        (lambda: schedules.Cubic(0.5, end=1.5), "end"),
        (lambda: schedules.Rounds(-0.1), "sparsity"),
        (lambda: schedules.Rounds(0.5, rounds=0), "rounds"),
        (lambda: schedules.Rounds(0.5, rounds=2.5), "rounds"),
    ],
)
def test_bad_arguments(make, argument):
    with pytest.raises(ValueError, match=f"^`{argument}` must be"):
        make()
