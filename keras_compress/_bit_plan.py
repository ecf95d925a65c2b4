"""Which layers of a trained bitwise model hand bits to which, once they are packed."""

import dataclasses

import keras

from keras_compress._layer_kinds import always_trains
from keras_compress._neighbours import Neighbours
from keras_compress._rebuild import DROP, is_graph, is_wrapper
from keras_compress.layers._bitwise_fold import MOVING, Piece, can_normalise
from keras_compress.layers._bitwise_kernel import bitwise
from keras_compress.layers._bitwise_pack import packed_layer, packed_moving
from keras_compress.layers.bitwise import BitwiseActivation, BitwiseConv2D, BitwiseDense
from keras_compress.layers.coding import BipolarCoding, ZeroOneCoding
from keras_compress.layers.packed import PackedBitwiseChain

_layers = keras.layers
BITWISE = (BitwiseDense, BitwiseConv2D)
CODINGS = {"sign": BipolarCoding, "zero_one": ZeroOneCoding}
# They only rise with what they get, so that a threshold of the sum can stand for them.
RISING = (
    *("linear", "tanh", "hard_tanh", "softsign", "sigmoid", "hard_sigmoid", "relu"),
    *("relu6", "leaky_relu", "elu", "selu", "softplus", "exponential"),
)


class BitPlan:
    """What becomes of every layer of a model that bits flow through.

    Between two bitwise layers, all that only rises or falls with a sum is folded into
    thresholds: biases, scales, batch normalisations, activations. The first layer then
    hands packed bits to the second, through poolings of bits and reshapes; such layers
    in a row become one `PackedBitwiseChain`. Where bits cannot be handed on (to an
    addition, an average, a real-valued layer, an output of the model) a layer gives
    the numbers that the trained one gives.

    Args:
        model: A model that passed `check_model`, its bitwise layers in stage 2.
        vanishing: Classes of layers that do nothing in inference.
    """

    def __init__(self, model, vanishing):
        self.vanishing = vanishing
        self.places = _Places(model)
        self._new = {}
        # What is in a wrapper, or in two models, gets and gives numbers.
        layers = [x for x in self.places.layers if type(x) in BITWISE]
        layers = [x for x in layers if self.places.holder(x) is not None]
        self._takers = {}
        pieces = {id(layer): self._piece(layer) for layer in layers}
        self._pieces = {key: self._with_inputs(pieces[key]) for key in pieces}
        for group in self._groups(layers):
            self._place(group)
        for layer in self.places.layers:
            if type(layer) is BitwiseActivation and self._feeds_signs(layer):
                self._new.setdefault(id(layer), lambda: DROP)

    def replace(self, layer):
        """What `layer` becomes, as `rebuild` wants it; `None` if nothing is planned."""
        make = self._new.get(id(layer))
        return None if make is None else make()

    def _piece(self, layer):
        """What `layer` takes over of what is behind it."""
        # The kernels have the channels last.
        last = getattr(layer, "data_format", "channels_last") == "channels_last"
        passed, current = [], layer
        while last and _rises(layer.activation) and not self.places.is_end(current):
            behind = self.places.behind(current)
            if behind and all(self._takes_signs(x, current) for x in behind):
                self._takers[id(layer)] = behind
                return Piece(layer, tuple(passed), bits=True)
            if len(behind) != 1 or not self._passes(behind[0], layer, passed):
                break
            current = behind[0]
            passed.append(current)
        norm = self._normalisation(layer)
        return Piece(layer, () if norm is None else (norm,))

    def _takes_signs(self, layer, source):
        """Whether `layer` only looks at the signs of what `source` gives."""
        if type(layer) not in BITWISE or layer.inputs != "sign":
            return False
        # A shorter float may be zero where a longer one has a sign.
        if layer.compute_dtype != source.compute_dtype:
            return False
        last = getattr(layer, "data_format", "channels_last") == "channels_last"
        return last and self.places.is_fed_by(layer, source)

    def _passes(self, layer, first, passed):
        """Whether the signs behind `layer` can be told from the sums of `first`."""
        source = passed[-1] if passed else first
        if not self.places.is_fed_by(layer, source) or always_trains(layer):
            return False
        kind = type(layer)
        if kind in self.vanishing or kind is BitwiseActivation:
            return True
        if kind is _layers.Activation:
            return _rises(layer.activation)
        if kind in (_layers.ReLU, _layers.LeakyReLU):
            return float(layer.negative_slope) >= 0.0
        before = {type(x) for x in passed}
        if kind is _layers.BatchNormalization:
            # Of each unit, everywhere the same; and a zero behind it stays one.
            moved = before & {_layers.Flatten, _layers.ZeroPadding2D}
            return not moved and _is_on_last_axis(layer)
        if kind in MOVING and layer.data_format == "channels_last":
            is_image = type(first) is BitwiseConv2D and _layers.Flatten not in before
            return kind is _layers.Flatten or is_image
        return False

    def _normalisation(self, layer):
        """The batch normalisation behind `layer`, if the op can compute it, too."""
        behind = self.places.behind(layer)
        if self.places.is_end(layer) or len(behind) != 1:
            return None
        norm = behind[0]
        is_norm = type(norm) is _layers.BatchNormalization
        if not is_norm or not self.places.is_fed_by(norm, layer):
            return None
        if always_trains(norm) or not _is_on_last_axis(norm):
            return None
        return norm if can_normalise(layer, norm) else None

    def _with_inputs(self, piece):
        """The piece, taking packed bits or the coding before it where it gets them."""
        layer = piece.layer
        for source in self.places.layers:
            if any(x is layer for x in self._takers.get(id(source), ())):
                return dataclasses.replace(piece, channels=_units(source))
        before = self.places.before(layer)
        if len(before) != 1 or type(before[0]) is not CODINGS.get(layer.inputs):
            return piece
        coding = before[0]
        alone = len(self.places.behind(coding)) == 1 and not self.places.is_end(coding)
        same = coding.compute_dtype == layer.compute_dtype
        if alone and same and self.places.is_fed_by(layer, coding):
            return dataclasses.replace(piece, coding=coding)
        return piece

    def _groups(self, layers):
        """Lists of layers that become one op."""
        following = {}
        for layer in layers:
            takers = self._takers.get(id(layer), ())
            if len(takers) == 1 and _gives_rows_or_images(layer):
                following[id(layer)] = takers[0]
        inner = {id(layer) for layer in following.values()}
        for layer in layers:
            group = [layer]
            while id(group[-1]) in following:
                group.append(following[id(group[-1])])
            if id(layer) not in inner:
                yield group

    def _place(self, group):
        """Plans what becomes of the layers of a group, and of what is between them."""
        pieces = [self._pieces[id(layer)] for layer in group]
        for piece in pieces:
            dropped = [piece.layer, piece.coding, *piece.behind]
            self._new.update((id(x), lambda: DROP) for x in dropped if x is not None)
        last, place = pieces[-1], group[-1]
        if last.bits:
            for layer in last.behind:
                self._move(last, layer)
        elif last.behind:
            place = last.behind[0]
        # An output has the name of its layer, which a loss may be given by.
        name = (place if self.places.is_end(place) else group[0]).name
        self._new[id(place)] = lambda: _packed(pieces, name)

    def _move(self, piece, layer):
        """Plans for a layer behind the last of a group: some move bits about."""
        if type(layer) is _layers.MaxPooling2D:
            self._new[id(layer)] = lambda: packed_moving(piece, layer)
        elif type(layer) in MOVING:
            del self._new[id(layer)]  # it works on words as it is

    def _feeds_signs(self, layer):
        """Whether the outputs of `layer` only get to where their signs are taken."""
        behind = self.places.behind(layer)
        if not behind or self.places.is_end(layer):
            return False
        return all(self._takes_signs(x, layer) for x in behind)


class _Places:
    """Where layers stand: beside which others, in which graph, and at which end."""

    def __init__(self, model):
        neighbours = Neighbours(model)
        self.before, self.behind = neighbours.before, neighbours.behind
        self.layers, self._holders, self._ends = [], {}, set()
        self._visit(None, model)

    def holder(self, layer):
        """The one model that calls `layer`; `None` where it is not just one."""
        return self._holders[id(layer)]

    def is_end(self, layer):
        """Whether a model, nested or not, gives what `layer` gives."""
        return id(layer) in self._ends

    def is_fed_by(self, layer, source):
        """Whether `layer` is called on what `source` gives alone, in the same graph."""
        before = self.before(layer)
        holder = self._holders.get(id(layer))
        return (
            len(before) == 1
            and before[0] is source
            and holder is not None
            and self._holders.get(id(source)) is holder
        )

    def _visit(self, holder, layer):
        if is_graph(layer):
            ends = layer.layers[-1:]
            if not isinstance(layer, keras.Sequential):
                tensors = keras.tree.flatten(layer.outputs)
                ends = [tensor._keras_history.operation for tensor in tensors]
            self._ends.update(map(id, ends))
            for inner in layer.layers:
                self._visit(layer, inner)
        elif is_wrapper(layer):
            self._visit(None, layer.layer)  # which knows of arrays of numbers only
        elif id(layer) not in self._holders:
            self.layers.append(layer)
            self._holders[id(layer)] = holder
        elif self._holders[id(layer)] is not holder:
            self._holders[id(layer)] = None  # it stands in several


def _packed(pieces, name):
    """One packed layer of these pieces, and what fills it."""
    if len(pieces) == 1:
        return packed_layer(pieces[0], name)
    made = []
    for piece in pieces:
        made.append(packed_layer(piece, piece.layer.name))
        moving = piece.behind if piece is not pieces[-1] else ()
        made += [packed_moving(piece, x) for x in moving if type(x) in MOVING]
    fills = [fill for _, fill in made]
    dtype = pieces[-1].layer.dtype_policy
    chain = PackedBitwiseChain([layer for layer, _ in made], name=name, dtype=dtype)
    return chain, lambda: [fill() for fill in fills]


def _units(layer):
    return layer.units if type(layer) is BitwiseDense else layer.filters


def _gives_rows_or_images(layer):
    """Whether the outputs have the axes that an op of several layers knows."""
    return len(layer._inbound_nodes[-1].output_tensors[0].shape) in (2, 4)


def _rises(activation):
    functions = (getattr(keras.activations, name, None) for name in RISING)
    return activation in (None, bitwise, *functions)


def _is_on_last_axis(layer):
    axis = layer.axis[0] if isinstance(layer.axis, list | tuple) else layer.axis
    return axis in (-1, layer.input_spec.ndim - 1)
