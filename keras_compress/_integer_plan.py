"""Which fixed-point layers of a model hand integers to which, once they are packed."""

import dataclasses

import keras

from keras_compress._copies import all_layers
from keras_compress._layer_kinds import always_trains
from keras_compress._neighbours import Neighbours
from keras_compress._rebuild import is_graph, is_wrapper, walk
from keras_compress.functional.q_format import QFormat
from keras_compress.layers._fixed_point_kernel import is_fixed_point
from keras_compress.layers.packed._integer_steps import contains, final_format, steps_of

# They hand integers on as they would floats; subclasses may do anything.
PASSING = (
    keras.layers.Dropout,
    keras.layers.Flatten,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.MaxPooling2D,
    keras.layers.Permute,
    keras.layers.Reshape,
    keras.layers.SpatialDropout2D,
)


@dataclasses.dataclass
class Place:
    """What a layer takes from those before it, and gives to those behind it."""

    input_format: QFormat
    takes_integers: bool = False
    gives_integers: bool = False


def plan_integers(model):
    """The `Place` of every fixed-point layer of a model, by the layer's id.

    Raises:
        ValueError: If inputs of one have no format, or it is in a wrapper that looks at
            its kernel.
    """
    layers = [layer for _, layer in walk(model) if is_fixed_point(layer)]
    if not layers:
        return {}
    neighbours = Neighbours(model)
    borders = _Borders(model, neighbours)
    wrappers = [x for x in all_layers(model) if is_wrapper(x)]
    for wrapper in wrappers:
        _check_wrapper(wrapper)
    wrapped = {id(x.layer) for x in wrappers}
    before = {id(x): _reached(x, neighbours.before) for x in layers}
    behind = {id(x): _reached(x, neighbours.behind) for x in layers}
    plan = {id(x): Place(_input_format(x, before[id(x)])) for x in layers}
    # Whoever hands integers on must do so to all, and all to whom must take them.
    giving = {
        id(x)
        for x in layers
        if steps_of(x) is not None
        and id(x) not in wrapped
        and not borders.are_met_from(x)
        and all(id(y) in plan and id(y) not in wrapped for y in behind[id(x)])
        and all(plan[id(y)].input_format == final_format(x) for y in behind[id(x)])
    }
    while True:
        left = {
            id(x)
            for x in layers
            if id(x) in giving
            and all(id(z) in giving for y in behind[id(x)] for z in before[id(y)])
        }
        if left == giving:
            break
        giving = left
    for layer in layers:
        place = plan[id(layer)]
        place.gives_integers = id(layer) in giving
        place.takes_integers = any(id(x) in giving for x in before[id(layer)])
    return plan


def _input_format(layer, before):
    given = {final_format(x) if is_fixed_point(x) else None for x in before}
    own = layer.input_format
    if len(given) == 1 and None not in given:
        final = given.pop()
        if final.integer_bits is not None and (own is None or contains(own, final)):
            return final
    if own is None or own.integer_bits is None or own.overflow != "saturate":
        raise ValueError(
            f"The inputs of layer {layer.name!r} need a format with a width, that "
            "saturates, to be integers: give it one, with "
            "keras_compress.FixedPoint(inputs=...), or the outputs of the layer before "
            f"it. Received: {own}"
        )
    return own


def _reached(layer, step):
    """The layers that are met first, past those that hand numbers on."""
    found = []
    for other in step(layer):
        if _passes(other):
            found.extend(_reached(other, step))
        else:
            found.append(other)
    return found


def _check_wrapper(wrapper):
    layer = wrapper.layer
    if type(wrapper) is not keras.layers.TimeDistributed and is_fixed_point(layer):
        raise ValueError(
            f"Layer {layer.name!r} ({type(layer).__name__}) cannot be packed inside a "
            "wrapper that looks at its kernel. Take it out of the wrapper."
        )


def _passes(layer):
    """Whether a layer hands on the numbers that it gets, in inference."""
    return type(layer) in PASSING and not always_trains(layer)


class _Borders:
    """Where nested models begin and end: Keras casts what crosses to floats there.

    Args:
        model: A model that passed `check_model`.
        neighbours: Its `Neighbours`.
    """

    def __init__(self, model, neighbours):
        self._neighbours = neighbours
        self._first, self._last = set(), set()
        self._shortcut = False
        for graph in _nested(model):
            if isinstance(graph, keras.Sequential):
                first, last = graph.layers[:1], graph.layers[-1:]
            else:
                inputs = [x._keras_history.operation for x in graph.inputs]
                nodes = [node for x in inputs for node in x._outbound_nodes]
                first = [node.operation for node in nodes]
                last = [x._keras_history.operation for x in graph.outputs]
                # It gives an input back, and no layer stands at that border.
                self._shortcut |= any(x in inputs for x in last)
            self._first.update(map(id, first))
            self._last.update(map(id, last))

    def are_met_from(self, layer):
        """Whether outputs of a layer, handed on, leave the model that it stands in."""
        if self._shortcut or self._neighbours.is_end(layer) or id(layer) in self._last:
            return True
        return any(
            id(other) in self._first or (_passes(other) and self.are_met_from(other))
            for other in self._neighbours.behind(layer)
        )


def _nested(model):
    """The models inside a model, at any depth."""
    for layer in model.layers:
        while is_wrapper(layer):
            layer = layer.layer
        if is_graph(layer):
            yield layer
            yield from _nested(layer)
