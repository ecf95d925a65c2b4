"""Fixed-point layers: values with so many integer and fraction bits."""

import dataclasses
from typing import Any, ClassVar

import keras

from keras_compress._validation import check_choice
from keras_compress.functional.fixed_point import GRADIENTS
from keras_compress.layers._config import SwapConfig
from keras_compress.layers._fixed_point_kernel import FixedPointKernel, check_format
from keras_compress.layers._hosts import Conv2DHost, DenseHost
from keras_compress.layers.pruned import Prune, Pruned, PrunedConv2D, PrunedDense


@keras.saving.register_keras_serializable("keras_compress")
class FixedPointDense(FixedPointKernel, DenseHost):
    """`Dense` whose values are fixed-point numbers.

    Computes `Q_out(activation(Q_pre(Q_in(inputs) @ Q_w(kernel) + Q_b(bias))))`, forward
    and backward. Gradients pass the quantizers straight through, and update the ghosts
    behind the weights, which keep all their bits. Without formats it equals `Dense`
    exactly.

    Args:
        units: Positive integer, size of the output.
        kernel_format: A `QFormat`, which may have a channel for each unit; `None`
            leaves the kernel as it is.
        bias_format: The same for the bias.
        input_format: A `QFormat` or `None`, for the inputs.
        pre_activation_format: A `QFormat` or `None`, for what the activation gets.
        output_format: A `QFormat` or `None`, for what it gives.
        gradient: `"identity"`, or `"clipped"`: none for what is out of range.
        **kwargs: Every other argument of `keras.layers.Dense`, except LoRA.

    Attributes:
        kernel: Float variable, the ghosts; float32 at least, whatever the policy.
        noise: Integer variable: 0 float, 1 rounding, 2 partial, 3 uniform; see
            `set_noise`.
        rate: Float variable: the part of weights that is quantized in training.
        finer: Float variable, 2 to the number of fraction bits that are added yet.

    Input shape:
        `(batch, ..., input_dim)`.

    Output shape:
        `(batch, ..., units)`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> half = keras.initializers.Constant(0.3)
    >>> layer = FixedPointDense(
    ...     1, kernel_format=kc.QFormat(0, 1), kernel_initializer=half
    ... )
    >>> print(layer(np.ones((1, 4))).numpy())  # 4 times 0.5
    [[2.]]

    Reference:
        - [Courbariaux et al., 2015](https://arxiv.org/abs/1511.00363), for the ghosts
        - [Hwang & Sung, 2014](https://ieeexplore.ieee.org/document/6986082)
    """


@keras.saving.register_keras_serializable("keras_compress")
class FixedPointConv2D(FixedPointKernel, Conv2DHost):
    """`Conv2D` whose values are fixed-point numbers, as in `FixedPointDense`.

    Args:
        filters: Positive integer, number of output channels.
        kernel_size: Integer or pair of integers, height and width of the window.
        kernel_format: A `QFormat`, which may have a channel for each filter; `None`
            leaves the kernel as it is.
        bias_format: The same for the bias.
        input_format: A `QFormat` or `None`, for the inputs.
        pre_activation_format: A `QFormat` or `None`, for what the activation gets.
        output_format: A `QFormat` or `None`, for what it gives.
        gradient: `"identity"`, or `"clipped"`: none for what is out of range.
        **kwargs: Every other argument of `keras.layers.Conv2D`, except LoRA.

    Attributes:
        kernel: Float variable, the ghosts; float32 at least, whatever the policy.
        noise: Integer variable: 0 float, 1 rounding, 2 partial, 3 uniform; see
            `set_noise`.
        rate: Float variable: the part of weights that is quantized in training.
        finer: Float variable, 2 to the number of fraction bits that are added yet.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)` with
        `data_format="channels_first"`.

    Output shape:
        As of `keras.layers.Conv2D`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> layer = FixedPointConv2D(4, 3, kernel_format=kc.QFormat(0, 7))
    >>> layer.build((None, 8, 8, 2))
    >>> layer.kernel_bytes
    72
    """


@keras.saving.register_keras_serializable("keras_compress")
class PrunedFixedPointDense(Pruned, FixedPointKernel, DenseHost):
    """`Dense` with a pruning mask on a kernel of fixed-point numbers.

    What `PrunedDense` and `FixedPointDense` are, in one: the mask is laid on the
    quantized kernel.

    Args:
        units: Positive integer, size of the output.
        pattern: As in `PrunedDense`.
        **kwargs: Arguments of `FixedPointDense` and of `keras.layers.Dense`.

    Input shape:
        `(batch, ..., input_dim)`.

    Output shape:
        `(batch, ..., units)`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> layer = PrunedFixedPointDense(4, kernel_format=kc.QFormat(0, 7))
    >>> layer.build((None, 8))
    >>> layer.prune(sparsity=0.75)
    >>> layer.sparsity
    0.75
    """


@keras.saving.register_keras_serializable("keras_compress")
class PrunedFixedPointConv2D(Pruned, FixedPointKernel, Conv2DHost):
    """`Conv2D` with a pruning mask on a kernel of fixed-point numbers.

    What `PrunedConv2D` and `FixedPointConv2D` are, in one.

    Args:
        filters: Positive integer, number of output channels.
        kernel_size: Integer or pair of integers, height and width of the window.
        pattern: As in `PrunedConv2D`.
        **kwargs: Arguments of `FixedPointConv2D` and of `keras.layers.Conv2D`.

    Input shape:
        As of `keras.layers.Conv2D`.

    Output shape:
        As of `keras.layers.Conv2D`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> layer = PrunedFixedPointConv2D(4, 3, kernel_format=kc.QFormat(0, 7))
    >>> layer.build((None, 8, 8, 2))
    >>> layer.prune(sparsity=0.5)
    >>> layer.sparsity
    0.5
    """


@keras.saving.register_keras_serializable("keras_compress")
@dataclasses.dataclass(frozen=True)
class FixedPoint(SwapConfig):
    """Swaps `Dense` and `Conv2D` for `FixedPointDense` and `FixedPointConv2D`.

    A pruned layer stays pruned, and becomes fixed-point, too. Swapping a fixed-point
    layer again gives it new formats. Formats that fit a model's data are found by
    `keras_compress.analysis.choose_formats`.

    Args:
        kernel: A `QFormat`, or `None` to leave kernels as they are.
        bias: A `QFormat` or `None`.
        inputs: A `QFormat` or `None`.
        pre_activations: A `QFormat` or `None`.
        outputs: A `QFormat` or `None`.
        gradient: `"identity"` or `"clipped"`, as in `FixedPointDense`.

    Raises:
        ValueError: If an argument is no format.

    Example:

    >>> FixedPoint(kernel=kc.QFormat(1, 6)).kernel.bits
    8
    """

    kernel: Any = None
    bias: Any = None
    inputs: Any = None
    pre_activations: Any = None
    outputs: Any = None
    gradient: str = "identity"

    layers: ClassVar[dict] = {
        keras.layers.Dense: FixedPointDense,
        keras.layers.Conv2D: FixedPointConv2D,
        FixedPointDense: FixedPointDense,
        FixedPointConv2D: FixedPointConv2D,
        PrunedDense: PrunedFixedPointDense,
        PrunedConv2D: PrunedFixedPointConv2D,
        PrunedFixedPointDense: PrunedFixedPointDense,
        PrunedFixedPointConv2D: PrunedFixedPointConv2D,
    }

    def __post_init__(self):
        check_choice("gradient", self.gradient, GRADIENTS)
        for name in ("kernel", "bias", "inputs", "pre_activations", "outputs"):
            # In a config that comes from JSON, a format is a mapping yet.
            channels = name in ("kernel", "bias")
            format = check_format(name, getattr(self, name), channels)
            object.__setattr__(self, name, format)

    def arguments(self):
        return {
            "kernel_format": self.kernel,
            "bias_format": self.bias,
            "input_format": self.inputs,
            "pre_activation_format": self.pre_activations,
            "output_format": self.outputs,
            "gradient": self.gradient,
        }

    def get_config(self):
        config = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {
            name: keras.saving.serialize_keras_object(value)
            for name, value in config.items()
        }


# Pruning adds to what is fixed-point already; its own file knows nothing of this one.
Prune.layers.update(
    {
        FixedPointDense: PrunedFixedPointDense,
        FixedPointConv2D: PrunedFixedPointConv2D,
        PrunedFixedPointDense: PrunedFixedPointDense,
        PrunedFixedPointConv2D: PrunedFixedPointConv2D,
    }
)
