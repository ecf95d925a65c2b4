"""How layers with shared weights are packed: as what they are without sharing."""

from keras import ops

from keras_compress.layers._config import arguments_of, copy_variables
from keras_compress.layers.clustered import (
    PrunedClusteredConv2D,
    PrunedClusteredDense,
)
from keras_compress.layers.pruned import PrunedConv2D, PrunedDense

PRUNED = {PrunedClusteredDense: PrunedDense, PrunedClusteredConv2D: PrunedConv2D}


def as_pruned(layer):
    """The pruned layer of the same values, and its filler; `None` for other layers.

    What is known of pruned layers then holds: which units do nothing, what pays.
    """
    if type(layer) not in PRUNED:
        return None
    arguments = arguments_of(layer)
    for name in ("bits", "init"):
        del arguments[name]
    new = PRUNED[type(layer)](**arguments)

    def fill():
        copy_variables(layer, new)
        new.kernel.assign(ops.convert_to_tensor(layer.effective_kernel()))

    return new, fill
