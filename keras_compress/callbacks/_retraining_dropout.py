"""Dropout layers that drop less while the layers before them have fewer connections."""

import math

import keras
import numpy as np
from keras import ops

from keras_compress._copies import all_layers
from keras_compress._neighbours import Neighbours
from keras_compress._rebuild import check_model
from keras_compress._validation import invalid
from keras_compress.functional.retraining import dropped, retraining_rate
from keras_compress.layers.pruned import is_pruned


class RetrainingDropout:
    """The `Dropout` layers of a network that stand behind pruned layers.

    Keras reads `rate`, a Python number, when it traces the training step. During a fit
    it is a variable that is read here, so that nothing is traced again; the layers'
    own rates, and what is saved, stay those of the dense network.

    Args:
        model: A Sequential or Functional model.
        scope: The context in which to make variables.

    Raises:
        ValueError: If no `Dropout` stands behind a pruned layer.
    """

    def __init__(self, model, scope):
        check_model("model", model)
        neighbours = Neighbours(model)
        self._found = []
        for layer in all_layers(model):
            if type(layer) is keras.layers.Dropout and 0.0 < layer.rate < 1.0:
                source = _source(layer, neighbours)
                if source is not None:
                    with scope:
                        rate = keras.Variable(layer.rate, trainable=False)
                    self._found.append((layer, source, rate))
        if not self._found:
            expected = f"False for {model.name!r}, which has no Dropout behind a pruned"
            raise invalid("rescale_dropout", expected + " layer", True)

    def install(self):
        """Lets the layers drop by the variables from now on."""
        for layer, _, rate in self._found:
            # Past Keras's tracking; it looks `call` up on the instance.
            layer.__dict__["call"] = _call_of(layer, rate)
        self.update()

    def update(self):
        """Follows the masks."""
        for layer, source, rate in self._found:
            before = math.prod(source.mask.shape)
            after = int(np.count_nonzero(ops.convert_to_numpy(source.mask)))
            rate.assign(retraining_rate(layer.rate, before, after))

    def remove(self):
        """Lets the layers drop by their own rates again."""
        for layer, _, _ in self._found:
            layer.__dict__.pop("call", None)

    @property
    def rates(self):
        """Dict from the names of the layers to the rates in force."""
        return {
            layer.name: float(ops.convert_to_numpy(rate))
            for layer, _, rate in self._found
        }


def _source(layer, neighbours):
    """The pruned layer whose outputs are dropped, or `None`."""
    before = neighbours.before(layer)
    while len(before) == 1:
        (source,) = before
        if is_pruned(source):
            return source
        if hasattr(source, "kernel"):
            return None
        before = neighbours.before(source)
    return None


def _call_of(layer, rate):
    def call(inputs, training=False):
        if not training:
            return inputs
        shape = ops.shape(inputs)
        if layer.noise_shape is not None:
            pairs = zip(layer.noise_shape, shape, strict=True)
            shape = tuple(side if given is None else given for given, side in pairs)
        noise = keras.random.uniform(shape, dtype="float32", seed=layer.seed_generator)
        return dropped(inputs, rate, noise)

    return call
