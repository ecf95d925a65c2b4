"""Which weights go first, by name or by a function of one's own."""

import contextlib

import numpy as np
from keras import ops

from keras_compress._evidence import Evidence
from keras_compress._validation import invalid
from keras_compress.functional import brain_surgeon, criteria


def _activation(kernel, known):
    return criteria.activation_aware(kernel, known.input_norms)


def _gradient(kernel, known):
    return criteria.connection_sensitivity(kernel, known.gradient)


def _brain_surgeon(kernel, known):
    def costs(kernel, mask, moments, means):
        mask = mask.astype(bool)
        pattern = known.pattern
        return brain_surgeon.removal_costs(kernel, moments, pattern=pattern, mask=mask)

    return known.by_group(costs, kernel, known.mask)


# Functions of a kernel and a `LayerEvidence` to scores. The magnitude is what `prune`
# of a layer goes by without any.
CRITERIA = {
    "magnitude": None,
    "gradient": _gradient,
    "activation": _activation,
    "brain_surgeon": _brain_surgeon,
}


class Criterion:
    """A criterion, what it needs to know, and whether weights are fitted afterwards.

    Args:
        criterion: A name in `CRITERIA`, or a function as in `keras_compress.prune`.
        data: As in `keras_compress.prune`.
        targets: As in `keras_compress.prune`.
        loss: As in `keras_compress.prune`.
        refit: As in `keras_compress.prune`.

    Raises:
        ValueError: If an argument is of the wrong kind, or data are of no use.
    """

    def __init__(self, criterion, *, data=None, targets=None, loss=None, refit=None):
        if not callable(criterion) and (
            not isinstance(criterion, str) or criterion not in CRITERIA
        ):
            expected = f"one of {', '.join(map(repr, CRITERIA))}, or a function"
            raise invalid("criterion", expected, criterion)
        if refit not in (None, True, False):
            raise invalid("refit", "True, False or None", refit)
        self._given = criterion
        self._function = criterion if callable(criterion) else CRITERIA[criterion]
        self._refits = criterion == "brain_surgeon" if refit is None else refit
        if data is not None and self._function is None and not self._refits:
            expected = "None: magnitudes need no data, unless with `refit`"
            raise invalid("data", expected, type(data))
        # A function may do without.
        named = isinstance(criterion, str) and self._function is not None
        if data is None and (named or self._refits):
            raise invalid("data", f"given for criterion={criterion!r}", None)
        self._known = {"data": data, "targets": targets, "loss": loss}

    @property
    def refits(self):
        """Whether weights are fitted when masks have changed."""
        return self._refits

    @property
    def looks_at_more(self):
        """Whether it looks at more than the weights' magnitudes."""
        return self._function is not None or self._refits

    @contextlib.contextmanager
    def judging(self, model, layers):
        """For the time in which masks change: yields scores, and fits what stays.

        Args:
            model: The model, for the data.
            layers: Pruned layers of it.

        Yields:
            List of arrays, one a layer, for its `prune`; or of `None`s.
        """
        if not self.looks_at_more:
            yield [None] * len(layers)
            return
        for layer in layers:
            if getattr(layer, "is_clustered", False):
                expected = f"'magnitude' without `refit` for {layer.name!r}, whose "
                expected += "weights are shared: prune first, then share"
                raise invalid("criterion", expected, self._given)
        evidence = Evidence(model, layers, **self._known)
        if self._function is None:
            scores = [None] * len(layers)
        else:
            known = evidence.of_layers()
            scores = [self._function(one.kernel, one) for one in known]
        if self._refits:
            evidence.find_moments()
        yield scores
        if self._refits:
            for one in evidence.of_layers():
                _refit(one)


def _refit(known):
    """Gives a layer, its mask changed, the weights that keep its outputs nearest."""
    mask = ops.convert_to_numpy(known.layer.mask)
    if (mask == known.mask).all():
        return
    before = np.where(known.mask, known.kernel, 0.0)

    def fitted(kernel, mask, moments, means):
        return brain_surgeon.refit(kernel, mask.astype(bool), moments)

    after = known.by_group(fitted, before, mask)
    known.layer.kernel.assign(np.where(mask, after, known.kernel))
    if known.layer.bias is not None:
        lost = known.by_group(lambda x, moments, means: means @ x, before - after)
        known.layer.bias.assign_add(lost.astype("float32"))
