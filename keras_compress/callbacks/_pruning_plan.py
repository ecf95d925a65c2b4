"""How sparse each layer is to be at a progress: by schedule, by layer, or by budget."""

import numpy as np
from keras import ops

from keras_compress._validation import check_real, invalid
from keras_compress.callbacks._pruned_layers import matching
from keras_compress.functional import budgets
from keras_compress.functional.cost import sparse_bytes
from keras_compress.functional.patterns import (
    check_sparsity,
    max_sparsity,
    most_dropped,
)
from keras_compress.layers.pruned import prune_together, total_sparsity
from keras_compress.report.weight_uses import weight_uses

BUDGETS = ("weights", "bytes", "multiply_adds")
TARGETS = (
    'None, {"weights" | "bytes" | "multiply_adds": a share in (0, 1] or an integer}, '
    "or a mapping from layers to sparsities"
)


def check_target(target):
    """`target` as a dict, or `None`; what only a model can tell is checked in `fit`."""
    if target is None:
        return None
    if not isinstance(target, dict) or not target:
        raise invalid("target", TARGETS, target)
    if not all(isinstance(name, str) for name in target):
        raise invalid("target", TARGETS, target)
    if set(target) & set(BUDGETS):
        if len(target) > 1:
            raise invalid("target", "one budget, and nothing beside it", target)
        ((what, amount),) = target.items()
        budgets.check_budget(f"target[{what!r}]", amount, 1.0)
        return dict(target)
    return {
        name: check_real(f"target[{name!r}]", sparsity, minimum=0.0, maximum=1.0)
        for name, sparsity in target.items()
    }


def check_room_to_move(layers):
    """Refuses patterns in which a weight cannot go before another one comes.

    Raises:
        ValueError: If a layer has an N:M pattern.
    """
    for path, layer in layers.items():
        if max_sparsity(layer.pattern) < 1.0:
            expected = f"False or True for the pattern {layer.pattern!r} of {path!r}"
            raise invalid("regrow", expected, "momentum")


def plan_of(model, layers, schedule, scope, target):
    """The parts of a plan, each of them layers that are pruned by one rule.

    Args:
        model: The network.
        layers: Mapping from paths to the pruned layers.
        schedule: A `Schedule`.
        scope: `"layer"` or `"global"`.
        target: What `check_target` returned.

    Returns:
        List of parts.

    Raises:
        ValueError: If a pattern cannot get so sparse, a layer is not there, or a budget
            cannot be met.
    """
    if target is None:
        return [_by_schedule(list(layers.values()), schedule, scope)]
    if schedule.final == 0.0:
        raise invalid("schedule", "one that ends above 0 with a `target`", schedule)
    if set(target) <= set(BUDGETS):
        ((what, amount),) = target.items()
        return [_Budget(model, list(layers.values()), schedule, scope, what, amount)]
    wanted = {}
    for pattern, sparsity in target.items():
        for path in matching("target", list(layers), pattern):
            wanted.setdefault(path, sparsity)
    parts = [_Own(layers[path], schedule, wanted[path]) for path in wanted]
    rest = [layer for path, layer in layers.items() if path not in wanted]
    return [*parts, _by_schedule(rest, schedule, scope)] if rest else parts


def _by_schedule(layers, schedule, scope):
    for layer in layers:
        check_sparsity("schedule", schedule.final, layer.pattern)
    return (_Together if scope == "global" else _Each)(layers, schedule)


class _Each:
    """Every layer gets the sparsity of the schedule."""

    moves_between_layers = False

    def __init__(self, layers, schedule):
        self.layers, self.schedule = layers, schedule

    def prune(self, progress, splice, scores):
        """Prunes as far as it is due at this progress."""
        sparsity = self.schedule(progress)
        for layer in self.layers:
            _prune(layer, sparsity, splice, scores)


class _Together:
    """The layers get the sparsity of the schedule together."""

    moves_between_layers = True

    def __init__(self, layers, schedule):
        self.layers, self.schedule = layers, schedule

    def prune(self, progress, splice, scores):
        """Prunes as far as it is due at this progress."""
        wanted = max(self.schedule(progress), total_sparsity(self.layers))
        _prune_together(self.layers, wanted, splice, scores)


class _Own:
    """One layer gets a sparsity of its own, along the schedule."""

    moves_between_layers = False

    def __init__(self, layer, schedule, sparsity):
        self.layers, self.schedule = [layer], schedule
        self.sparsity = check_sparsity("target", sparsity, layer.pattern)

    def prune(self, progress, splice, scores):
        """Prunes as far as it is due at this progress."""
        done = self.schedule(progress) / self.schedule.final
        _prune(self.layers[0], done * self.sparsity, splice, scores)


class _Budget:
    """The layers together spend no more weights, bytes or multiply-adds than allowed.

    What is spent falls to the budget along the schedule. In scope `"layer"` all layers
    are equally sparse; in scope `"global"` the smallest weights of all go first.
    """

    def __init__(self, model, layers, schedule, scope, what, amount):
        self.layers, self.schedule = layers, schedule
        self.moves_between_layers = self._together = scope == "global"
        self._sizes = [int(np.prod(layer.mask.shape)) for layer in layers]
        shapes = [layer.matrix_shape for layer in layers]
        self._fixed, dense = 0, None
        if what == "weights":
            self._costs = [1] * len(layers)
        elif what == "bytes":
            self._costs = [sparse_bytes(1, *s) - sparse_bytes(0, *s) for s in shapes]
            self._fixed = sum(sparse_bytes(0, *shape) for shape in shapes)
            dense = 4 * sum(self._sizes)
        else:
            uses = weight_uses(model)
            self._costs = [max(uses.get(id(layer), 0), 1) for layer in layers]
        self._most = self._fixed + float(np.dot(self._costs, self._sizes))
        name = f"target[{what!r}]"
        self._budget = budgets.check_budget(name, amount, dense or self._most)
        least = budgets.least(
            self._fixed,
            self._costs,
            self._sizes,
            [most_dropped(*layer.matrix_shape, layer.pattern) for layer in layers],
        )
        if self._budget < least:
            raise invalid(name, f"at least {least:,.0f} for these layers", amount)
        self._highest = min(max_sparsity(layer.pattern) for layer in layers)
        for layer in layers:
            check_sparsity("target", self._uniform(self._budget), layer.pattern)

    def prune(self, progress, splice, scores):
        """Prunes as far as it is due at this progress."""
        done = self.schedule(progress) / self.schedule.final
        allowed = budgets.allowance(done, self._most, self._budget)
        sparsity = self._uniform(allowed)
        if self._together and len(set(self._costs)) > 1:
            sparsity = budgets.sparsity_for(
                allowed - self._fixed, self._scores(splice, scores), self._costs
            )
        before = [ops.convert_to_numpy(layer.mask) for layer in self.layers]
        self._prune(sparsity, splice, scores)
        # Blocks and rounding may keep a few more weights than was reckoned.
        low, high = sparsity, self._highest
        fits = not self._exceeds(allowed)
        while not fits and high - low > 1 / sum(self._sizes):
            middle = (low + high) / 2
            self._put_back(before)
            self._prune(middle, splice, scores)
            low, high = (middle, high) if self._exceeds(allowed) else (low, middle)
        if not fits:
            self._put_back(before)
            self._prune(high, splice, scores)

    def _exceeds(self, allowed):
        return self._spent() > allowed + 1e-6

    def _put_back(self, masks):
        for layer, mask in zip(self.layers, masks, strict=True):
            layer.mask.assign(mask)

    def _prune(self, sparsity, splice, scores):
        if self._together:
            wanted = max(sparsity, total_sparsity(self.layers))
            _prune_together(self.layers, wanted, splice, scores)
        else:
            for layer in self.layers:
                _prune(layer, sparsity, splice, scores)

    def _scores(self, splice, scores):
        found = []
        for layer in self.layers:
            score = scores[id(layer)]
            if score is None:
                score = np.abs(ops.convert_to_numpy(layer.kernel).astype("float32"))
            if not splice:
                score = np.where(ops.convert_to_numpy(layer.mask), score, 0.0)
            found.append(score)
        return found

    def _uniform(self, allowed):
        allowed = allowed - self._fixed
        return budgets.uniform_sparsity(allowed, self._costs, self._sizes)

    def _spent(self):
        kept = [
            round((1.0 - layer.sparsity) * size)
            for layer, size in zip(self.layers, self._sizes, strict=True)
        ]
        return self._fixed + float(np.dot(self._costs, kept))


def _prune(layer, sparsity, splice, scores):
    # What is pruned stays pruned.
    wanted = max(sparsity, layer.unit_sparsity)
    how = {"scores": scores[id(layer)], "regrow": False, "splice": splice}
    layer.prune(sparsity=wanted, **how)


def _prune_together(layers, sparsity, splice, scores):
    scores = [scores[id(layer)] for layer in layers]
    prune_together(layers, sparsity, scores=scores, regrow=False, splice=splice)
