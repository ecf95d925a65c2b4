"""Where integer layers meet floats that LiteRT's converter must leave floats."""

import keras

from keras_compress._neighbours import Neighbours
from keras_compress.layers.packed._integer_kernel import IntegerKernel
from keras_compress.layers.packed._integer_steps import final_format

# They have a scale for each input; what else joins tensors has one for all.
WITH_OWN_SCALES = ("Add", "Multiply", "Subtract")


class Seams:
    """The integer layers of a model that stand beside floats.

    Args:
        model: A model whose layers passed `check_convertible`.
    """

    def __init__(self, model):
        self._neighbours = Neighbours(model)

    def is_behind_floats(self, layer):
        """Whether outputs of a float layer with weights come to an integer layer."""
        return any(
            not isinstance(other, IntegerKernel | keras.layers.InputLayer)
            for other in self._origins(layer)
        )

    def is_before_floats(self, layer):
        """Whether outputs of an integer layer go to floats, or have to become floats.

        That is where they are joined with numbers of other steps.
        """
        for other in self._reached(layer, set()):
            if _is_origin(other):
                # TensorFlow 2.18 hands a plain Dense integers, and then cannot run it.
                found = not isinstance(other, IntegerKernel)
            else:
                # Classes of operations such as `x + y` are not public.
                found = type(other).__name__ not in WITH_OWN_SCALES and (
                    len({_steps_of(origin) for origin in self._origins(other)}) > 1
                )
            if found:
                return True
        return False

    def _origins(self, layer, seen=None):
        """The layers with weights, and the inputs, that are met first before one."""
        seen = set() if seen is None else seen
        for other in self._neighbours.before(layer):
            if id(other) in seen:
                continue
            seen.add(id(other))
            if _is_origin(other):
                yield other
            else:
                yield from self._origins(other, seen)

    def _reached(self, layer, seen):
        """All behind a layer, up to the next ones with weights."""
        for other in self._neighbours.behind(layer):
            if id(other) in seen:
                continue
            seen.add(id(other))
            yield other
            if not _is_origin(other):
                yield from self._reached(other, seen)


def _is_origin(layer):
    # An operation such as `x + y` has no weights at all.
    inputs = isinstance(layer, keras.layers.InputLayer)
    return inputs or bool(getattr(layer, "weights", ()))


def _steps_of(layer):
    """The format of outputs that are integers, else `None`."""
    return final_format(layer) if isinstance(layer, IntegerKernel) else None
