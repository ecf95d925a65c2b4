"""Several packed bitwise layers that run as one op."""

import itertools

import keras

from keras_compress._validation import invalid
from keras_compress.layers.packed._function import function_of
from keras_compress.layers.packed._native_layer import NativeLayer
from keras_compress.layers.packed.packed_bitwise import (
    PackedBitwiseConv2D,
    PackedBitwiseDense,
)
from keras_compress.layers.packed.packed_pooling import PackedMaxPooling2D
from keras_compress.ops import stages, xnor_chain, xnor_network

PRODUCTS = (PackedBitwiseDense, PackedBitwiseConv2D)
# They move bits about. Zeros of a padding are words of +1.
MOVES = (PackedMaxPooling2D, keras.layers.ZeroPadding2D, keras.layers.Flatten)


@keras.saving.register_keras_serializable("keras_compress")
class PackedBitwiseChain(NativeLayer):
    """Consecutive packed bitwise layers as one op; between them there are bits.

    Made by `keras_compress.pack`, of dense layers and of convolutions, with poolings,
    paddings and a flattening between them. Not trainable. NaN among the inputs is an
    error.

    Args:
        members: List of layers, one after another: `PackedBitwiseDense` and
            `PackedBitwiseConv2D`, between which there may be `PackedMaxPooling2D`,
            `keras.layers.ZeroPadding2D` and `keras.layers.Flatten`. Of the former two,
            one is the first and one the last, all but the last have `outputs="bits"`,
            all but the first `inputs="packed"`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Attributes:
        members: The layers.

    Input shape:
        As of the first member.

    Output shape:
        As of the last member.

    Raises:
        ValueError: If the members do not follow each other.
        tf.errors.InvalidArgumentError: When called on NaN.

    Example:

    >>> first = PackedBitwiseDense(40, outputs="bits")
    >>> second = PackedBitwiseDense(2, inputs="packed", channels=40, use_bias=False)
    >>> chain = PackedBitwiseChain([first, second])
    >>> chain.build((None, 3))
    >>> first.fill(np.ones((3, 40)), thresholds=np.zeros(40), flips=np.zeros(40))
    >>> second.fill(np.ones((40, 2)))
    >>> print(chain(np.array([[1.0, 1.0, -1.0]])).numpy())
    [[40. 40.]]

    Reference:
        - [Kim & Smaragdis, 2015](https://arxiv.org/abs/1601.06071)
    """

    def __init__(self, members, **kwargs):
        members = list(members)
        known = all(type(x) in PRODUCTS + MOVES for x in members)
        ends = [type(x) in PRODUCTS for x in (*members[:1], *members[-1:])]
        if not members or not known or not all(ends):
            expected = "a list of packed bitwise layers that a product begins and ends"
            raise invalid("members", expected, members)
        products = [layer for layer in members if type(layer) in PRODUCTS]
        for one, other in itertools.pairwise(products):
            follows = other.inputs == "packed" and other.channels == _units(one)
            if one.outputs != "bits" or not follows:
                expected = f"such that {other.name!r} takes the bits of {one.name!r}"
                raise invalid("members", expected, [x.get_config() for x in members])
        super().__init__(**kwargs)
        self.members = members
        self.is_dense = all(type(x) is PackedBitwiseDense for x in members)
        self.supports_masking = self.is_dense
        self.input_spec = keras.layers.InputSpec(min_ndim=2)

    def build(self, input_shape):
        if not self.is_dense and len(input_shape) not in (2, 4):
            raise invalid("inputs", "of two axes or four", input_shape)
        for layer in self.members:
            if not layer.built:
                layer.build(input_shape)
            input_shape = layer.compute_output_shape(input_shape)

    def call(self, inputs):
        first, last = self.members[0], self.members[-1]
        ends = {} if last.outputs == "bits" else last.end_of_op()
        if self.is_dense:
            outputs = xnor_chain(
                first.rows(inputs),
                [layer.weights_of_op() for layer in self.members],
                [x.limits_of_op() for x in self.members if x.outputs == "bits"],
                input_dim=first.row_width(),
                outputs=last.outputs,
                **ends,
            )
        else:
            steps = [stage_of(layer) for layer in self.members]
            rows = first.rows(inputs)
            outputs = xnor_network(rows, steps, outputs=last.outputs, **ends)
        return last.finish(outputs)

    def as_function(self):
        """The chain as a function of a tensor, to be called again and again.

        As `PackedBitwiseDense.as_function`: one op, and no Keras around it.

        Returns:
            Function of a tensor of rows or images, float32 or as the first member takes
            it, to the outputs.
        """
        return function_of(self.members, [stage_of(layer) for layer in self.members])

    def compute_output_shape(self, input_shape):
        for layer in self.members:
            input_shape = layer.compute_output_shape(input_shape)
        return input_shape

    def compute_output_spec(self, inputs, *args, **kwargs):
        for layer in self.members:
            inputs = layer.compute_output_spec(inputs)
        return inputs

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {**super().get_config(), "members": [*map(serialize, self.members)]}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        deserialize = keras.saving.deserialize_keras_object
        members = [deserialize(member) for member in config.pop("members")]
        return cls(members, **config)


def stage_of(layer):
    """A member as a stage of `ops.xnor_network`."""
    if type(layer) is keras.layers.ZeroPadding2D:
        return stages.Border(layer.padding)
    if type(layer) is keras.layers.Flatten:
        return stages.Flatten()
    return layer.stage()


def _units(layer):
    return layer.units if type(layer) is PackedBitwiseDense else layer.filters
