"""How sparse each layer is to be at a progress: by schedule, by layer, or by budget."""

import numpy as np

from keras_compress._validation import check_real, invalid
from keras_compress.callbacks._pruned_layers import (
    matching,
    prune_further,
    prune_further_together,
)
from keras_compress.callbacks._pruning_budget import Budget
from keras_compress.functional import budgets
from keras_compress.functional.patterns import check_sparsity, max_sparsity
from keras_compress.layers.pruned import total_sparsity

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
            cannot be met, or may as well be the sparsity of a layer of its name.
    """
    if target is None:
        return [_by_schedule(list(layers.values()), schedule, scope)]
    if schedule.final == 0.0:
        raise invalid("schedule", "one that ends above 0 with a `target`", schedule)
    if set(target) <= set(BUDGETS):
        ((what, amount),) = target.items()
        # A share could as well be the sparsity of a layer of that name.
        names = [path.rpartition("/")[2] for path in layers]
        if what in names and isinstance(amount, float | np.floating):
            expected = (
                f"clear in a model with a layer {what!r}: {{'[{what[0]}]{what[1:]}': "
                "sparsity} for the layer, or an integer for the budget"
            )
            raise invalid("target", expected, target)
        return [Budget(model, list(layers.values()), schedule, scope, what, amount)]
    # The path of a layer means more than a glob, or a name that several have.
    wanted = {path: target[path] for path in layers if path in target}
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
            prune_further(layer, sparsity, splice, scores)


class _Together:
    """The layers get the sparsity of the schedule together."""

    moves_between_layers = True

    def __init__(self, layers, schedule):
        self.layers, self.schedule = layers, schedule

    def prune(self, progress, splice, scores):
        """Prunes as far as it is due at this progress."""
        wanted = max(self.schedule(progress), total_sparsity(self.layers))
        prune_further_together(self.layers, wanted, splice, scores)


class _Own:
    """One layer gets a sparsity of its own, along the schedule."""

    moves_between_layers = False

    def __init__(self, layer, schedule, sparsity):
        self.layers, self.schedule = [layer], schedule
        self.sparsity = check_sparsity("target", sparsity, layer.pattern)

    def prune(self, progress, splice, scores):
        """Prunes as far as it is due at this progress."""
        done = self.schedule(progress) / self.schedule.final
        prune_further(self.layers[0], done * self.sparsity, splice, scores)
