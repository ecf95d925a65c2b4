"""`CachedBatch`: what a pipeline of `cache_logits` gives in the place of inputs."""

from typing import NamedTuple


class CachedBatch(NamedTuple):
    """Inputs, and what the teachers said of them.

    Args:
        inputs: The student's inputs.
        teachers: Tuple, one a teacher, of tuples, one an output, of logits or values.
        weights: Tensor `(batch, teachers)` of sum 1 a row, or `()` for equal weights.
        families: Like `teachers`, of what `FAMILIES` has, or `()` where a teacher does
            not say what its output is. Not tensors, but part of the structure.
    """

    inputs: object
    teachers: tuple
    weights: object = ()
    families: tuple = ()


def inputs_of(element):
    """The inputs in an element of a data set, beside which labels may stand."""
    return element[0] if isinstance(element, tuple) else element


class CategoricalLogits(NamedTuple):
    """Logits of classes that exclude each other."""


class BinaryLogits(NamedTuple):
    """Logits of units that are each a yes or no."""


class Values(NamedTuple):
    """Anything else."""


FAMILIES = {
    "categorical": CategoricalLogits(),
    "binary": BinaryLogits(),
    "values": Values(),
}
