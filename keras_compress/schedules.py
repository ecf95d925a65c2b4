"""From the progress of a fit, a number in `[0, 1]`, to the sparsity at that point.

A schedule is a frozen dataclass that is called with the progress. It knows neither
steps nor epochs, so the same schedule fits a fit of thirty steps and one of thirty
thousand. Its `end` is the progress from which on the sparsity no longer changes.
"""

import dataclasses
import math

from keras_compress._validation import check_int, check_real, invalid


@dataclasses.dataclass(frozen=True)
class Schedule:
    """What all schedules share. To write one of your own, override `at`."""

    def __call__(self, progress):
        """The sparsity, in `[0, 1]`, at this progress, in `[0, 1]`."""
        return self.at(check_real("progress", progress, minimum=0.0, maximum=1.0))

    def at(self, progress):
        """The sparsity at a progress that was checked."""
        raise TypeError(f"{type(self).__name__} is abstract: write `at`")

    @property
    def end(self):
        """The progress from which on the sparsity no longer changes."""
        return 1.0

    @property
    def final(self):
        """The sparsity where the fit ends."""
        return self(1.0)

    def get_config(self):
        """The arguments, as JSON can hold them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config):
        """The schedule of these arguments."""
        return cls(**config)

    def _check_start(self):
        if self._check("start", minimum=0.0, maximum=1.0) == 1.0:
            raise invalid("start", "a number in [0, 1)", self.start)

    def _check(self, name, **limits):
        """Checks an argument and stores it as a plain number, which JSON knows."""
        value = check_real(name, getattr(self, name), **limits)
        object.__setattr__(self, name, value)
        return value


@dataclasses.dataclass(frozen=True)
class Constant(Schedule):
    """Prunes once, to the full sparsity, and trains on with what is left.

    Args:
        sparsity: Fraction of zeros, in `[0, 1]`.
        start: Progress at which to prune, in `[0, 1)`. Defaults to the beginning.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> schedule = Constant(0.9, start=0.5)
    >>> schedule(0.4), schedule(0.5)
    (0.0, 0.9)
    """

    sparsity: float
    start: float = 0.0

    def __post_init__(self):
        self._check("sparsity", minimum=0.0, maximum=1.0)
        self._check_start()

    @property
    def end(self):
        """The progress from which on the sparsity no longer changes."""
        return self.start

    def at(self, progress):
        """The sparsity at a progress that was checked."""
        return self.sparsity if progress >= self.start else 0.0


@dataclasses.dataclass(frozen=True)
class Cubic(Schedule):
    """Prunes fast at first, when there is much to spare, and ever slower.

    With `t = (progress - start) / (end - start)`, clipped to `[0, 1]`:

    `sparsity + (initial - sparsity) * (1 - t) ** 3`

    Args:
        sparsity: Fraction of zeros at `end` and after, in `[0, 1]`.
        initial: Fraction of zeros at `start`, in `[0, sparsity]`.
        start: Progress at which pruning begins, in `[0, 1)`. Nothing is pruned before.
        end: Progress at which the sparsity is reached, in `(start, 1]`. The rest of
            the fit trains what is left.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> schedule = Cubic(0.8, end=0.5)
    >>> schedule(0.0), round(schedule(0.25), 3), schedule(0.5)
    (0.0, 0.7, 0.8)

    Reference:
        - [Zhu & Gupta, 2017](https://arxiv.org/abs/1710.01878), equation 1.
    """

    sparsity: float
    _: dataclasses.KW_ONLY
    initial: float = 0.0
    start: float = 0.0
    end: float = 0.75

    def __post_init__(self):
        self._check("sparsity", minimum=0.0, maximum=1.0)
        self._check("initial", minimum=0.0, maximum=self.sparsity)
        self._check_start()
        self._check("end", minimum=0.0, maximum=1.0)
        if self.end <= self.start:
            raise invalid("end", f"greater than start={self.start!r}", self.end)

    def at(self, progress):
        """The sparsity at a progress that was checked."""
        if progress < self.start:
            return 0.0
        if progress >= self.end:
            return self.sparsity
        left = 1.0 - (progress - self.start) / (self.end - self.start)
        return self.sparsity + (self.initial - self.sparsity) * left**3


@dataclasses.dataclass(frozen=True)
class Rounds(Schedule):
    """Prunes and retrains in equal rounds, each keeping the same share of the rest.

    Round `r` of `rounds` begins at progress `r / rounds` and prunes to
    `1 - (1 - sparsity) ** ((r + 1) / rounds)`; a sparsity of 1 is approached in equal
    steps instead.

    Args:
        sparsity: Fraction of zeros of the last round, in `[0, 1]`.
        rounds: Positive integer, how often to prune.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> [round(Rounds(0.75, rounds=2)(progress), 3) for progress in (0.0, 0.5, 1.0)]
    [0.5, 0.75, 0.75]

    Reference:
        - [Han et al., 2015](https://arxiv.org/abs/1506.02626), section 3.4, iterative
          pruning.
    """

    sparsity: float
    rounds: int = 5

    def __post_init__(self):
        self._check("sparsity", minimum=0.0, maximum=1.0)
        rounds = check_int("rounds", self.rounds, minimum=1)
        object.__setattr__(self, "rounds", rounds)

    @property
    def end(self):
        """The progress from which on the sparsity no longer changes."""
        return (self.rounds - 1) / self.rounds

    def at(self, progress):
        """The sparsity at a progress that was checked."""
        if progress >= self.end:
            return self.sparsity
        # A progress such as 2 / 5 computed as 0.4 must not fall into the round before.
        done = math.floor(progress * self.rounds + 1e-9) + 1
        if self.sparsity == 1.0:
            return done / self.rounds
        return 1.0 - (1.0 - self.sparsity) ** (done / self.rounds)
