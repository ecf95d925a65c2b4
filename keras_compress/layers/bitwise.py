"""Bitwise layers: in the end, weights, inputs and outputs are -1 and +1."""

import keras

from keras_compress._validation import check_choice
from keras_compress.functional.sign import STRAIGHT_THROUGH
from keras_compress.layers._bitwise_kernel import BitwiseKernel
from keras_compress.layers._hosts import Conv2DHost, DenseHost
from keras_compress.layers._stages import SIGN, TANH, Staged


@keras.saving.register_keras_serializable("keras_compress")
class BitwiseDense(BitwiseKernel, DenseHost):
    """`Dense` whose weights become signs, in two stages.

    | stage | it computes                                          | `"bitwise"` is |
    | ----- | ---------------------------------------------------- | -------------- |
    | 0     | `activation(inputs @ W + b)`, as `Dense` does        | `tanh`         |
    | 1     | `activation(inputs @ tanh(W) + tanh(b))`             | `tanh`         |
    | 2     | `activation(sign(inputs) @ (M * sign(W)) + sign(b))` | `sign`         |

    `M` drops the weights with `|W| <= beta`; `sign(0) = +1`. It begins in stage 0; the
    callback `Binarization` leads it through the stages in `fit`. With `activation=None`
    the outputs of stage 2 are the integer sums, as a last layer wants them.

    Args:
        units: Positive integer, size of the output.
        activation: As in `Dense`, or `"bitwise"`: see the table.
        inputs: How inputs become bits. `"sign"`: by their sign in stage 2, as they are
            before. For inputs in [0, 1], in every stage: `"bipolar"` (+1 from 0.5 on,
            else -1), `"zero_one"` (1 from 0.5 on, else 0) and `"bits"` (the bits of
            a fixed-point value, each an input of its own).
        bits: Integer in `[1, 16]`: of `inputs="bits"`, how many.
        gradient: The gradient of the weights in stage 2. `"paper"`: `dL/dW = dL/dw`.
            `"lecture"`: `dL/dW = dL/dw * M * (1 - tanh(W) ** 2)`.
        straight_through: The gradient of the sign of inputs and units: `"plain"`,
            `"clip"`, `"tanh"`, `"approx"` or `"swish"`, as in
            `keras_compress.functional.sign.sign`. Defaults to `"plain"` with the
            paper's gradient, and to `"tanh"` with the lecture's.
        scale: Whether the sums of stage 2 are multiplied by `alpha`, the mean absolute
            value of the unit's kept ghosts.
        bitwise_bias: Whether the bias is compressed and a sign, too.
        masked: Whether there is a `mask`.
        **kwargs: Every other argument of `keras.layers.Dense`, except LoRA.

    Attributes:
        kernel: Float variable, the ghosts `W`; float32 at least, whatever the policy.
        stage: Integer variable: 0, 1 or 2.
        beta: Float variable: `M` drops what is not larger. Below 0: nothing.
        rate: Float variable: the share of weights that are bits in training.
        mask: Boolean variable of the kernel's shape, `False` where a weight is 0 in
            every stage; `None` unless `masked`. Assignable.
        sparsity: Fraction of zeros among the weights of stage 2, in `[0, 1]`.
        ternary_kernel: The weights of stage 2, an int8 array of -1, 0 and +1.

    Input shape:
        `(batch, ..., input_dim)`.

    Output shape:
        `(batch, ..., units)`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> layer = BitwiseDense(1, kernel_initializer=keras.initializers.Constant(-0.1))
    >>> inputs = np.array([[0.2, -3.0, 0.0, 0.5]])
    >>> print(layer(inputs).numpy().round(2))
    [[0.23]]
    >>> layer.binarize()
    >>> print(layer(inputs).numpy())  # -1 + 1 - 1 - 1, and sign(0) for the bias
    [[-1.]]

    Reference:
        - [Kim & Smaragdis, 2015](https://arxiv.org/abs/1601.06071)
        - `scale`: [Rastegari et al., 2016](https://arxiv.org/abs/1603.05279)
    """


@keras.saving.register_keras_serializable("keras_compress")
class BitwiseConv2D(BitwiseKernel, Conv2DHost):
    """`Conv2D` whose weights become signs, in two stages, as in `BitwiseDense`.

    With `padding="same"` the border is of zeros, which add nothing to a sum.

    Args:
        filters: Positive integer, number of output channels.
        kernel_size: Integer or pair of integers, height and width of the window.
        activation: As in `Conv2D`, or `"bitwise"`: `tanh`, and `sign` in stage 2.
        inputs: How inputs become bits. `"sign"`: by their sign in stage 2, as they are
            before. For inputs in [0, 1], in every stage: `"bipolar"` (+1 from 0.5 on,
            else -1), `"zero_one"` (1 from 0.5 on, else 0) and `"bits"` (the bits of
            a fixed-point value, each a channel of its own).
        bits: Integer in `[1, 16]`: of `inputs="bits"`, how many.
        gradient: The gradient of the weights in stage 2. `"paper"`: `dL/dW = dL/dw`.
            `"lecture"`: `dL/dW = dL/dw * M * (1 - tanh(W) ** 2)`.
        straight_through: The gradient of the sign of inputs and units: `"plain"`,
            `"clip"`, `"tanh"`, `"approx"` or `"swish"`, as in
            `keras_compress.functional.sign.sign`. Defaults to `"plain"` with the
            paper's gradient, and to `"tanh"` with the lecture's.
        scale: Whether the sums of stage 2 are multiplied by `alpha`, the mean absolute
            value of the unit's kept ghosts.
        bitwise_bias: Whether the bias is compressed and a sign, too.
        masked: Whether there is a `mask`.
        **kwargs: Every other argument of `keras.layers.Conv2D`, except LoRA.

    Attributes:
        kernel: Float variable, the ghosts `W`; float32 at least, whatever the policy.
        stage: Integer variable: 0, 1 or 2.
        beta: Float variable: `M` drops what is not larger. Below 0: nothing.
        rate: Float variable: the share of weights that are bits in training.
        mask: Boolean variable of the kernel's shape, `False` where a weight is 0 in
            every stage; `None` unless `masked`. Assignable.
        sparsity: Fraction of zeros among the weights of stage 2, in `[0, 1]`.
        ternary_kernel: The weights of stage 2, an int8 array of -1, 0 and +1.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)` with
        `data_format="channels_first"`.

    Output shape:
        As of `keras.layers.Conv2D`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> layer = BitwiseConv2D(4, 3, activation="bitwise")
    >>> layer.build((None, 8, 8, 2))
    >>> layer.binarize(sparsity=0.25)
    >>> layer.sparsity
    0.25
    >>> print(np.unique(layer(np.ones((1, 8, 8, 2)))))
    [-1.  1.]

    Reference:
        - [Kim & Smaragdis, 2015](https://arxiv.org/abs/1601.06071)
        - `scale`: [Rastegari et al., 2016](https://arxiv.org/abs/1603.05279)
    """


@keras.saving.register_keras_serializable("keras_compress")
class BitwiseActivation(Staged, keras.layers.Layer):
    """`tanh` in the stages 0 and 1, `sign` in stage 2, with `sign(0) = +1`.

    For units whose activation is a layer of its own, as it is behind a batch
    normalisation: `BitwiseDense(64)`, `BatchNormalization()`, `BitwiseActivation()`.
    Otherwise say `BitwiseDense(64, activation="bitwise")`. `Binarization` moves the
    stage in `fit`.

    Args:
        straight_through: The gradient of the sign: `"plain"`, `"clip"`, `"tanh"`,
            `"approx"` or `"swish"`, as in `keras_compress.functional.sign.sign`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Attributes:
        stage: Integer Keras variable: 0, 1 or 2.

    Input shape:
        Any.

    Output shape:
        That of the inputs.

    Raises:
        ValueError: If `straight_through` is unknown.

    Example:

    >>> layer = BitwiseActivation()
    >>> layer.build((None, 2))
    >>> layer.binarize()
    >>> print(layer(np.array([[-3.0, 0.0]])).numpy())
    [[-1.  1.]]

    Reference:
        - [Kim & Smaragdis, 2015](https://arxiv.org/abs/1601.06071)
    """

    def __init__(self, straight_through="clip", **kwargs):
        self.straight_through = check_choice(
            "straight_through", straight_through, tuple(STRAIGHT_THROUGH)
        )
        self.surrogate = straight_through
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, input_shape):
        self.add_stage()

    def call(self, inputs):
        return self.staged_units(inputs)

    def compress(self):
        """Enters stage 1, where the activation is `tanh`, as it is in stage 0."""
        self.check_built()
        self.stage.assign(TANH)

    def binarize(self):
        """Enters stage 2, where the activation is `sign`."""
        self.check_built()
        self.stage.assign(SIGN)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "straight_through": self.straight_through}
