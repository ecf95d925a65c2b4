"""Several packed bitwise layers that run as one op."""

import itertools

import keras

from keras_compress._validation import invalid
from keras_compress.layers.packed.packed_bitwise import (
    PackedBitwiseDense,
    function_of,
)
from keras_compress.ops import xnor_chain


@keras.saving.register_keras_serializable("keras_compress")
class PackedBitwiseChain(keras.layers.Layer):
    """Consecutive `PackedBitwiseDense` layers as one op; between them there are bits.

    Made by `keras_compress.pack`. Not trainable. NaN among the inputs is an error.

    Args:
        members: List of `PackedBitwiseDense`, one after another: all but the last have
            `outputs="bits"`, all but the first `inputs="packed"`.
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
        if not members or not all(type(x) is PackedBitwiseDense for x in members):
            raise invalid("members", "a list of PackedBitwiseDense", members)
        for one, other in itertools.pairwise(members):
            follows = other.inputs == "packed" and other.channels == one.units
            if one.outputs != "bits" or not follows:
                expected = f"such that {other.name!r} takes the bits of {one.name!r}"
                raise invalid("members", expected, [x.get_config() for x in members])
        super().__init__(**kwargs)
        self.members = members
        self.trainable = False
        # The native op has no XLA kernel.
        self.supports_jit = False
        self.supports_masking = True
        self.input_spec = keras.layers.InputSpec(min_ndim=2)

    def build(self, input_shape):
        for layer in self.members:
            if not layer.built:
                layer.build(input_shape)
            input_shape = layer.compute_output_shape(input_shape)

    def call(self, inputs):
        first, last = self.members[0], self.members[-1]
        outputs = xnor_chain(
            first.rows(inputs),
            [layer.weights_of_op() for layer in self.members],
            [layer.limits_of_op() for layer in self.members if layer.outputs == "bits"],
            input_dim=first.row_width(),
            outputs=last.outputs,
            **({} if last.outputs == "bits" else last.end_of_op()),
        )
        return last.finish(outputs)

    def as_function(self):
        """The chain as a function of a tensor, to be called again and again.

        As `PackedBitwiseDense.as_function`: one op, and no Keras around it.

        Returns:
            Function of a tensor `(batch, input_dim)`, float32 or as the first member
            takes it, to the outputs.
        """
        return function_of(self.members)

    def compute_output_shape(self, input_shape):
        return self.members[-1].compute_output_shape(input_shape)

    def compute_output_spec(self, inputs, *args, **kwargs):
        return self.members[-1].compute_output_spec(inputs)

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {**super().get_config(), "members": [*map(serialize, self.members)]}

    @classmethod
    def from_config(cls, config):
        deserialize = keras.saving.deserialize_keras_object
        members = [deserialize(member) for member in config.pop("members")]
        return cls(members, **config)
