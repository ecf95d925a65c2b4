"""A budget of weights, bytes or multiply-adds that layers spend together."""

import numpy as np
from keras import ops

from keras_compress._validation import invalid
from keras_compress.callbacks._pruned_layers import (
    prune_further,
    prune_further_together,
)
from keras_compress.functional import budgets
from keras_compress.functional.cost import sparse_bytes
from keras_compress.functional.patterns import (
    check_sparsity,
    max_sparsity,
    most_dropped,
)
from keras_compress.functional.sparse_layouts import PANEL
from keras_compress.layers.pruned import packed_bytes, sparse_layout, total_sparsity
from keras_compress.report.weight_uses import weight_uses


class Budget:
    """The layers together spend no more weights, bytes or multiply-adds than allowed.

    What is spent falls to the budget along the schedule. In scope `"layer"` all layers
    are equally sparse; in scope `"global"` the smallest weights of all go first.
    """

    def __init__(self, model, layers, schedule, scope, what, amount):
        self.layers, self.schedule, self._what = layers, schedule, what
        self.moves_between_layers = self._together = scope == "global"
        self._sizes = [int(np.prod(layer.mask.shape)) for layer in layers]
        pairs = [(layer, layer.matrix_shape) for layer in layers]
        self._fixed, dense = 0, None
        if what == "weights":
            self._costs = [1] * len(layers)
        elif what == "bytes":
            self._fixed = sum(sparse_bytes(0, *s, sparse_layout(x)) for x, s in pairs)
            self._costs = [_byte_cost(x, *s) for x, s in pairs]
            dense = 4 * sum(self._sizes)
        else:
            uses = weight_uses(model)
            if uses is None:
                raise ValueError(
                    f"`target` cannot be multiply-adds for {model.name!r}: they depend "
                    "on the shape of its inputs, which is not all known. Spend weights "
                    "or bytes, or give each layer a sparsity, as keras_compress."
                    "analysis.sensitivity(model, data).budget(multiply_adds=...) "
                    "finds them."
                )
            self._costs = [max(uses.get(id(layer), 0), 1) for layer in layers]
        self._most = self._fixed + float(np.dot(self._costs, self._sizes))
        name = f"target[{what!r}]"
        self._budget = budgets.check_budget(name, amount, dense or self._most)
        self._highest = min(max_sparsity(layer.pattern) for layer in layers)
        # Equal sparsity, the last resort, goes no further than the strictest pattern.
        gone = [
            min(most_dropped(*x.matrix_shape, x.pattern), round(self._highest * size))
            for x, size in zip(layers, self._sizes, strict=True)
        ]
        least = budgets.least(self._fixed, self._costs, self._sizes, gone)
        if self._budget < least:
            raise invalid(name, f"at least {least:,.0f} for these layers", amount)
        for layer in layers:
            check_sparsity("target", self._uniform(self._budget), layer.pattern)

    def prune(self, progress, splice, scores):
        """Prunes as far as it is due at this progress."""
        done = self.schedule(progress) / self.schedule.final
        allowed = budgets.allowance(done, self._most, self._budget)
        before = [ops.convert_to_numpy(layer.mask) for layer in self.layers]
        rest = splice, scores, before
        if self._together:
            self._reach(allowed, self._cut(allowed, splice, scores), *rest)
            if not self._exceeds(allowed):
                return
            # Layers that cost little have all the small weights, and the pattern of
            # another one keeps the cut from going further: equal sparsity it is.
            self._together = False
            self._put_back(before)
        self._reach(allowed, self._uniform(allowed), *rest)

    def _cut(self, allowed, splice, scores):
        """The sparsity of all layers together that is likely to do."""
        equal = self._uniform(allowed)
        if len(set(self._costs)) == 1:
            return equal
        scores = self._scores(splice, scores)
        found = budgets.sparsity_for(allowed - self._fixed, scores, self._costs)
        # It knows of no weights that a pattern keeps; start low, and look further.
        return found if self._highest == 1.0 else min(found, equal)

    def _reach(self, allowed, sparsity, splice, scores, before):
        """Prunes so far, or as much further as it takes to spend what is allowed."""
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
            prune_further_together(self.layers, wanted, splice, scores)
        else:
            for layer in self.layers:
                prune_further(layer, sparsity, splice, scores)

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
        if self._what == "bytes":
            return sum(map(packed_bytes, self.layers))
        kept = [
            round((1.0 - layer.sparsity) * size)
            for layer, size in zip(self.layers, self._sizes, strict=True)
        ]
        return self._fixed + float(np.dot(self._costs, kept))


def _byte_cost(layer, inputs, units):
    """What a kept weight takes; of a block, its share."""
    layout = sparse_layout(layer)
    some = sparse_bytes(PANEL, inputs, units, layout)
    return (some - sparse_bytes(0, inputs, units, layout)) / PANEL
