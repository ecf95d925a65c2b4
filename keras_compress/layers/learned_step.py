"""Layers that learn how to quantize: steps of weights, and limits of units."""

import dataclasses
from typing import ClassVar

import keras
from keras import ops

from keras_compress._validation import check_int, check_real
from keras_compress.functional import learned_step as maths
from keras_compress.layers._config import SwapConfig, arguments_of, copy_variables
from keras_compress.layers._hosts import Conv2DHost, DenseHost


class LearnedStepKernel:
    """The technique: a kernel of so many bits, whose step is trained with it."""

    def __init__(self, *args, kernel_bits=None, **kwargs):
        if kernel_bits is not None:
            check_int("kernel_bits", kernel_bits, minimum=2, maximum=16)
        self.kernel_bits = kernel_bits
        super().__init__(*args, **kwargs)

    def build(self, input_shape):
        super().build(input_shape)
        self.kernel_step = None
        if self.kernel_bits is not None:
            self.kernel_step = self.add_weight(
                name="kernel_step",
                shape=(),
                dtype="float32",
                initializer="ones",
                autocast=False,
            )
            self.set_step()

    def effective_kernel(self, training=False):
        kernel = super().effective_kernel(training=training)
        if self.kernel_step is None:
            return kernel
        kernel = ops.cast(kernel, "float32")
        found = maths.learned_step(kernel, self.kernel_step, bits=self.kernel_bits)
        return ops.cast(found, self.compute_dtype)

    def set_step(self):
        """Starts the step anew, from the kernel as it is."""
        if self.kernel_bits is not None:
            kernel = ops.cast(self.kernel, "float32")
            self.kernel_step.assign(maths.first_step(kernel, bits=self.kernel_bits))

    def get_config(self):
        return {**super().get_config(), "kernel_bits": self.kernel_bits}


@keras.saving.register_keras_serializable("keras_compress")
class LearnedStepDense(LearnedStepKernel, DenseHost):
    """`Dense` whose kernel has so many bits, in steps that are trained: LSQ.

    Computes `activation(inputs @ (round(clip(kernel / s, low, high)) * s) + bias)`. The
    step `s` need not be a power of two, so there is no integer form of this layer.

    Args:
        units: Positive integer, size of the output.
        kernel_bits: Integer in `[2, 16]`; `None` leaves the kernel as it is.
        **kwargs: Every other argument of `keras.layers.Dense`, except LoRA.

    Attributes:
        kernel_step: Float variable `s`; call `set_step()` when weights were assigned.

    Input shape:
        `(batch, ..., input_dim)`.

    Output shape:
        `(batch, ..., units)`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> layer = LearnedStepDense(3, kernel_bits=2)
    >>> layer.build((None, 8))
    >>> len(np.unique(layer.effective_kernel())) <= 4
    True

    Reference:
        - [Esser et al., 2020](https://arxiv.org/abs/1902.08153)
    """


@keras.saving.register_keras_serializable("keras_compress")
class LearnedStepConv2D(LearnedStepKernel, Conv2DHost):
    """`Conv2D` whose kernel has so many bits, in steps that are trained: LSQ.

    As `LearnedStepDense`.

    Args:
        filters: Positive integer, number of output channels.
        kernel_size: Integer or pair of integers, height and width of the window.
        kernel_bits: Integer in `[2, 16]`; `None` leaves the kernel as it is.
        **kwargs: Every other argument of `keras.layers.Conv2D`, except LoRA.

    Attributes:
        kernel_step: Float variable; call `set_step()` when weights were assigned.

    Input shape:
        As of `keras.layers.Conv2D`.

    Output shape:
        As of `keras.layers.Conv2D`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> layer = LearnedStepConv2D(3, 3, kernel_bits=2)
    >>> layer.build((None, 8, 8, 2))
    >>> len(np.unique(layer.effective_kernel())) <= 4
    True

    Reference:
        - [Esser et al., 2020](https://arxiv.org/abs/1902.08153)
    """


@keras.saving.register_keras_serializable("keras_compress")
class ClippedReLU(keras.layers.Layer):
    """A ReLU that learns where to clip, and has so many bits up to there: PACT.

    Computes `clip(x, 0, alpha)` in steps of `alpha / (2 ** bits - 1)`, and adds
    `decay * alpha ** 2` to the loss, so that `alpha` comes down to where it clips.

    Args:
        bits: Integer in `[2, 16]`, or `None`: clipped only.
        alpha: Number > 0, where to clip at first.
        decay: Number >= 0.
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        Any.

    Output shape:
        That of the inputs.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> layer = ClippedReLU(bits=2, alpha=1.5)
    >>> print(layer(np.array([-1.0, 0.6, 5.0])).numpy())
    [0.  0.5 1.5]

    Reference:
        - [Choi et al., 2018](https://arxiv.org/abs/1805.06085)
    """

    def __init__(self, bits=None, *, alpha=10.0, decay=2e-4, **kwargs):
        if bits is not None:
            check_int("bits", bits, minimum=2, maximum=16)
        self.bits = bits
        self.first_alpha = check_real("alpha", alpha, above=0.0)
        self.decay = check_real("decay", decay, minimum=0.0)
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, input_shape):
        self.alpha = self.add_weight(
            name="alpha",
            shape=(),
            dtype="float32",
            initializer=keras.initializers.Constant(self.first_alpha),
            regularizer=keras.regularizers.L2(self.decay),
            autocast=False,
        )

    def call(self, inputs):
        alpha = ops.cast(self.alpha, inputs.dtype)
        return maths.clipped_units(inputs, alpha, bits=self.bits)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "bits": self.bits,
            "alpha": self.first_alpha,
            "decay": self.decay,
        }


@keras.saving.register_keras_serializable("keras_compress")
@dataclasses.dataclass(frozen=True)
class LearnedStep(SwapConfig):
    """Swaps `Dense` and `Conv2D` for `LearnedStepDense` and `LearnedStepConv2D`.

    Steps start from the weights. A layer that has learned a step keeps it, unless it
    gets other bits.

    Args:
        kernel_bits: Integer in `[2, 16]`; `None` leaves kernels, and bits, as they are.

    Raises:
        ValueError: If `kernel_bits` is out of range.

    Example:

    >>> LearnedStep(kernel_bits=4)
    LearnedStep(kernel_bits=4)

    Reference:
        - [Esser et al., 2020](https://arxiv.org/abs/1902.08153)
    """

    kernel_bits: int | None = None

    layers: ClassVar[dict] = {
        keras.layers.Dense: LearnedStepDense,
        keras.layers.Conv2D: LearnedStepConv2D,
        LearnedStepDense: LearnedStepDense,
        LearnedStepConv2D: LearnedStepConv2D,
    }

    def __post_init__(self):
        if self.kernel_bits is not None:
            check_int("kernel_bits", self.kernel_bits, minimum=2, maximum=16)

    def convert(self, layer):
        before = getattr(layer, "kernel_bits", None)
        bits = before if self.kernel_bits is None else self.kernel_bits
        arguments = {**arguments_of(layer), "kernel_bits": bits}
        new = self.layers[type(layer)](**arguments)

        def fill():
            copy_variables(layer, new)
            if bits != before:
                new.set_step()

        return new, fill
