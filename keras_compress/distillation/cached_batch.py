"""`CachedBatch`: what a pipeline of `cache_logits` gives in the place of inputs."""

from typing import NamedTuple


class CachedBatch(NamedTuple):
    """Inputs, and what the teachers said of them.

    Args:
        inputs: The student's inputs.
        teachers: Tuple, one a teacher, of tuples, one an output, of logits or values:
            a tensor, or one of `FAMILIES` around it where the teacher says which.
        weights: Tensor `(batch, teachers)` of sum 1 a row, or `()` for equal weights.
    """

    inputs: object
    teachers: tuple
    weights: object = ()


class CategoricalLogits(NamedTuple):
    """Of classes that exclude each other.

    Args:
        tensor: Shape `(batch, ..., classes)`.
    """

    tensor: object


class BinaryLogits(NamedTuple):
    """Of units that are each a yes or no.

    Args:
        tensor: Shape `(batch, ..., units)`.
    """

    tensor: object


class Values(NamedTuple):
    """Anything else.

    Args:
        tensor: Shape `(batch, ...)`.
    """

    tensor: object


FAMILIES = {
    "categorical": CategoricalLogits,
    "binary": BinaryLogits,
    "values": Values,
}
