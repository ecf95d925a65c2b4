"""One layer, the ranks that it could have, and what each would cost and damage."""

import math

import numpy as np

from keras_compress._validation import invalid
from keras_compress.analysis.rank_choice import LayerRank
from keras_compress.functional import convolution, tensors
from keras_compress.functional.low_rank import singular_values, truncated_svd
from keras_compress.layers._config import Kept
from keras_compress.layers._fitted import kernel_of
from keras_compress.layers._low_rank_swap import LowRank

# Shares of a kernel's weights that the budgets choose from.
SHARES = (0.9, 0.75, 0.6, 0.5, 0.4, 0.3, 0.22, 0.16, 0.11, 0.08, 0.05, 0.03, 0.015)


class LayerCandidates:
    """One layer, the ranks that it could have, and the one that it has got."""

    def __init__(self, path, layer, method, uses):
        self.path, self.layer, self.method = path, layer, method
        self.uses = uses
        self.kernel = kernel_of(layer)
        self.config = LowRank(rank=1, method=method)
        self.rank = None
        self.candidates = [None]
        self.damages = [0.0]
        self.at = 0
        self._svd = None

    @property
    def matrix(self):
        """The kernel as the matrix whose spectrum counts."""
        form = convolution.FORMS[self.config.form]
        if self.kernel.ndim == 4 and hasattr(form, "as_matrix"):
            return form.as_matrix(self.kernel)
        return self.kernel.reshape(-1, self.kernel.shape[-1])

    def rank_by(self, rule):
        """The rank that a rule for spectra finds."""
        if self.method == "tucker":
            sides = [tensors.unfold(self.kernel, axis) for axis in (2, 3)]
            return tuple(rule(singular_values(side), side.shape) for side in sides)
        if self.method in ("cp", "monochromatic", "bicluster"):
            raise invalid("method", "one with a spectrum for `rule`", self.method)
        return rule(singular_values(self.matrix), self.matrix.shape)

    def choose(self, rank):
        """Takes a rank, or stays dense where it does not pay."""
        kept = self.config.does_not_pay(self.layer, rank)
        self.rank = None if isinstance(kept, Kept) else rank

    def find_candidates(self, outputs):
        """Lists the ranks for the shares of the weights, and the damage of each."""
        for share in SHARES:
            config = LowRank(params=share, method=self.method)
            rank = config.rank_of(self.layer, self.kernel)
            self.choose(rank)
            if self.rank is None or rank in self.candidates:
                continue
            self.candidates.append(rank)
            self.damages.append(self.damage(rank, outputs) ** 2)
        self.rank = None
        # More weights never do more damage; where measuring says so, it is chance.
        self.damages = list(np.maximum.accumulate(self.damages))

    def damage(self, rank, outputs):
        """Relative error with this layer alone cut: of the outputs, or the kernel."""
        cut = self.cut_kernel(rank)
        if outputs is not None:
            return outputs.error_with({id(self.layer): cut})
        norm = np.linalg.norm(self.kernel)
        return float(np.linalg.norm(cut - self.kernel) / norm) if norm else 0.0

    def cut_kernel(self, rank):
        """The kernel that the factors of this rank stand for."""
        if self.kernel.ndim == 2:
            # Ranks come in falling order: the first one's vectors hold all others'.
            if self._svd is None or rank > len(self._svd[1]):
                self._svd = truncated_svd(self.kernel, rank)
            u, s, vt = self._svd
            return (u[:, :rank] * s[:rank]) @ vt[:rank]
        form, clusters = self.config.form, self.config.clusters
        factors = convolution.decompose(form, self.kernel, rank, clusters)
        return np.asarray(convolution.FORMS[form].compose(**factors))

    def cost(self, what, rank):
        """Weights (`"params"`) or multiply-adds at a rank; `None` is dense.

        Multiply-adds are `None` where it is not known how often a weight is used.
        """
        if what == "multiply_adds" and self.uses is None:
            return None
        shape = self.kernel.shape
        if rank is None:
            each = self.kernel.size
        elif self.kernel.ndim == 2:
            each = rank * sum(shape)
        elif what == "params":
            args = (self.config.form, shape, rank)
            each = convolution.weights(*args, self.config.clusters)
        else:
            args = (self.config.form, shape, rank, self.layer.strides)
            each = convolution.multiply_adds(*args, self.config.clusters)
        return each if what == "params" else each * self.uses

    def next_step(self, what):
        """`(damage, saving)` of the best cut beyond the present one, and where to."""
        steps = []
        for index in range(self.at + 1, len(self.candidates)):
            now, then = self.candidates[self.at], self.candidates[index]
            saving = self.cost(what, now) - self.cost(what, then)
            if saving > 0:
                damage = self.damages[index] - self.damages[self.at]
                steps.append((damage / saving, index))
        return min(steps, default=(math.inf, None))

    def go_to(self, index):
        """Takes one of the candidates."""
        self.at, self.rank = index, self.candidates[index]

    def grow(self, what, left):
        """Spends what is `left` of a budget on a larger rank; returns the rest.

        Ranks between two candidates are not among them; a budget can still pay them.
        """
        if not isinstance(self.rank, int):
            return left
        before = self.cost(what, self.rank)
        dense = self.cost(what, None)
        while True:
            rank, cost = self.rank + 1, math.inf
            if rank <= convolution.FORMS[self.config.form].largest_rank(
                self.shape, self.config.clusters
            ):
                cost = self.cost(what, rank)
            if cost >= dense or cost - before > left:
                return left - (self.cost(what, self.rank) - before)
            self.rank = rank

    @property
    def shape(self):
        """The kernel's shape, as that of a convolution."""
        shape = tuple(self.kernel.shape)
        return shape if len(shape) == 4 else (1, 1, *shape)

    def found(self, outputs):
        """The `LayerRank`."""
        shape = self.matrix.shape
        error = 0.0 if self.rank is None else self.damage(self.rank, outputs)
        return LayerRank(
            path=self.path,
            shape=tuple(self.kernel.shape),
            rank=self.rank,
            largest=min(shape),
            weights=self.cost("params", None),
            kept_weights=self.cost("params", self.rank),
            multiply_adds=self.cost("multiply_adds", None),
            kept_multiply_adds=self.cost("multiply_adds", self.rank),
            error=error,
            spectrum=tuple(singular_values(self.matrix)),
        )
