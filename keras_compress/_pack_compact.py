"""A packed model whose layers lie compact in files, and are the same in memory."""

import keras
from keras import ops

from keras_compress._layer_kinds import is_changed
from keras_compress._rebuild import rebuild
from keras_compress.functional.compact import is_compressible
from keras_compress.layers._config import arguments_of, copy_variables
from keras_compress.layers.packed import CompactConv2D, CompactDense
from keras_compress.layers.packed._storage import ChosenStorage

PLAIN = {keras.layers.Dense: CompactDense, keras.layers.Conv2D: CompactConv2D}


def store_compact(model):
    """The same packed model, not compiled, stored compact wherever that saves bytes.

    Sparse and integer layers are; plain ones are where their kernel is full of zeros
    or has few different values.
    """

    def replace(layer):
        if isinstance(layer, ChosenStorage):
            arguments = {**arguments_of(layer), "storage": "compact"}
            return _like(layer, type(layer), arguments)
        if type(layer) in PLAIN and _is_worth_it(layer):
            return _like(layer, PLAIN[type(layer)], arguments_of(layer))
        return None

    return rebuild(model, replace)


def _is_worth_it(layer):
    return not is_changed(layer) and is_compressible(ops.convert_to_numpy(layer.kernel))


def _like(layer, new_class, arguments):
    new = new_class(**arguments)
    return new, lambda: copy_variables(layer, new)
