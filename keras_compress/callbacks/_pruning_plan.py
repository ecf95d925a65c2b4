"""How sparse each layer is to be at a progress: by schedule, by layer, or by budget."""

import fnmatch

import numpy as np
from keras import ops

from keras_compress._validation import check_real, invalid
from keras_compress.functional import budgets
from keras_compress.functional.cost import sparse_bytes
from keras_compress.functional.masks import check_sparsity, max_sparsity
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


def check_globs(name, globs):
    """A glob or a list of them as a tuple, empty for `None`."""
    if globs is None:
        return ()
    globs = [globs] if isinstance(globs, str) else globs
    if not isinstance(globs, list | tuple) or not all(
        isinstance(glob, str) for glob in globs
    ):
        raise invalid(name, "None, a glob or a list of globs", globs)
    return tuple(globs)


def check_room_to_move(layers):
    """Refuses patterns in which a weight cannot go before another one comes.

    Raises:
        ValueError: If a layer has an N:M pattern.
    """
    for path, layer in layers.items():
        if max_sparsity(layer.pattern) < 1.0:
            expected = f"False or True for the pattern {layer.pattern!r} of {path!r}"
            raise invalid("regrow", expected, "momentum")


def matching(name, paths, pattern):
    """The paths that a glob means, by the layer's name or all of its path.

    Args:
        name: The argument that the glob came by, for the error.
        paths: Sequence of paths of the pruned layers.
        pattern: The glob.

    Raises:
        ValueError: If it means none of them.
    """
    found = [
        path
        for path in paths
        if fnmatch.fnmatchcase(path, pattern)
        or fnmatch.fnmatchcase(path.rpartition("/")[2], pattern)
    ]
    if not found:
        raise invalid(name, f"of pruned layers, here {', '.join(paths)}", pattern)
    return found


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

    def prune(self, progress, splice):
        """Prunes as far as it is due at this progress."""
        sparsity = self.schedule(progress)
        for layer in self.layers:
            _prune(layer, sparsity, splice)


class _Together:
    """The layers get the sparsity of the schedule together."""

    moves_between_layers = True

    def __init__(self, layers, schedule):
        self.layers, self.schedule = layers, schedule

    def prune(self, progress, splice):
        """Prunes as far as it is due at this progress."""
        wanted = max(self.schedule(progress), total_sparsity(self.layers))
        prune_together(self.layers, wanted, regrow=False, splice=splice)


class _Own:
    """One layer gets a sparsity of its own, along the schedule."""

    moves_between_layers = False

    def __init__(self, layer, schedule, sparsity):
        self.layers, self.schedule = [layer], schedule
        self.sparsity = check_sparsity("target", sparsity, layer.pattern)

    def prune(self, progress, splice):
        """Prunes as far as it is due at this progress."""
        done = self.schedule(progress) / self.schedule.final
        _prune(self.layers[0], done * self.sparsity, splice)


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
        if self._budget < self._fixed:
            raise invalid(name, f"at least {self._fixed:,} for these layers", amount)
        for layer in layers:
            check_sparsity("target", self._uniform(self._budget), layer.pattern)

    def prune(self, progress, splice):
        """Prunes as far as it is due at this progress."""
        done = self.schedule(progress) / self.schedule.final
        allowed = budgets.allowance(done, self._most, self._budget)
        sparsity = self._uniform(allowed)
        if self._together and len(set(self._costs)) > 1:
            sparsity = budgets.sparsity_for(
                allowed - self._fixed, self._magnitudes(splice), self._costs
            )
        before = [ops.convert_to_numpy(layer.mask) for layer in self.layers]
        self._prune(sparsity, splice)
        # Blocks and rounding may keep a few more weights than was reckoned.
        low, high = sparsity, 1.0
        fits = not self._exceeds(allowed)
        while not fits and high - low > 1 / sum(self._sizes):
            middle = (low + high) / 2
            self._put_back(before)
            self._prune(middle, splice)
            low, high = (middle, high) if self._exceeds(allowed) else (low, middle)
        if not fits:
            self._put_back(before)
            self._prune(high, splice)

    def _exceeds(self, allowed):
        return self._spent() > allowed + 1e-6

    def _put_back(self, masks):
        for layer, mask in zip(self.layers, masks, strict=True):
            layer.mask.assign(mask)

    def _prune(self, sparsity, splice):
        if self._together:
            wanted = max(sparsity, total_sparsity(self.layers))
            prune_together(self.layers, wanted, regrow=False, splice=splice)
        else:
            for layer in self.layers:
                _prune(layer, sparsity, splice)

    def _magnitudes(self, splice):
        found = []
        for layer in self.layers:
            kernel = np.abs(ops.convert_to_numpy(layer.kernel).astype("float32"))
            if not splice:
                kernel = kernel * ops.convert_to_numpy(layer.mask)
            found.append(kernel)
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


def _prune(layer, sparsity, splice):
    # What is pruned stays pruned.
    wanted = max(sparsity, layer.sparsity)
    layer.prune(sparsity=wanted, regrow=False, splice=splice)
