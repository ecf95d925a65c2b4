"""`CachedBatch`: what a pipeline of `cache_logits` gives in the place of inputs."""

from typing import NamedTuple


class CachedBatch(NamedTuple):
    """Inputs, and what the teachers said of them.

    Args:
        inputs: The student's inputs.
        teachers: Tuple, one a teacher, of tuples, one an output, of logits or values.
        weights: Tensor `(batch, teachers)` of sum 1 a row, or `()` for equal weights.
    """

    inputs: object
    teachers: tuple
    weights: object = ()
