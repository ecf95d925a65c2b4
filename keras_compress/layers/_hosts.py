"""Keras layers that compute with `effective_kernel()`; alone, each is its parent.

A technique stands as a mixin to the left of a host, may add variables in `build`, and
changes `effective_kernel`. Hosts and mixins are never instantiated by users.
"""

import math

import keras
from keras import ops

from keras_compress._validation import invalid


class KernelHost:
    """What every host does differently from its Keras parent."""

    # Keras's Dense and Conv save (kernel, bias) by position and would lose a mask or
    # a scale. This saves every variable, as it is.
    save_own_variables = keras.layers.Layer.save_own_variables
    load_own_variables = keras.layers.Layer.load_own_variables

    reads_every_channel = True
    """Whether every output reads all channels of the input, or of its group of it."""

    def __init__(self, *args, **kwargs):
        # Both would bypass `effective_kernel`, and so the technique, without a word.
        if kwargs.get("lora_rank") is not None:
            raise invalid(
                "lora_rank", "None: compressed layers have no LoRA", kwargs["lora_rank"]
            )
        super().__init__(*args, **kwargs)
        if getattr(self, "quantization_mode", None) is not None:
            raise invalid(
                "dtype", "a policy without quantization", self.dtype_policy.name
            )

    def call(self, inputs, training=False):
        return self.activate(self.sums(inputs, training=training))

    @property
    def matrix_shape(self):
        """The kernel's shape as a matrix: what an output reads by outputs."""
        return math.prod(self.kernel.shape[:-1]), self.kernel.shape[-1]

    @property
    def matrix_groups(self):
        """How many groups of outputs, in order and equal in size, read other inputs."""
        return getattr(self, "groups", 1)

    def effective_kernel(self, training=False):
        """The kernel of the forward pass, shaped like `self.kernel`."""
        return self.kernel

    def effective_bias(self, training=False):
        """The bias of the forward pass, shaped like `self.bias`, which is not None."""
        return self.bias

    def activate(self, sums):
        """The outputs, of what the units have summed up."""
        return sums if self.activation is None else self.activation(sums)

    def enable_lora(self, *args, **kwargs):
        """Refused: LoRA would bypass the compressed kernel."""
        raise NotImplementedError(f"{type(self).__name__} does not support LoRA.")

    def quantize(self, *args, **kwargs):
        """Refused: Keras's quantized call would bypass the compressed kernel."""
        raise NotImplementedError(
            f"{type(self).__name__} is not quantized by `Model.quantize`."
        )


class DenseHost(KernelHost, keras.layers.Dense):
    """`Dense` on its effective kernel."""

    def sums(self, inputs, training=False):
        """What the units sum up: products with the kernel, and the bias."""
        kernel = self.effective_kernel(training=training)
        return self.biased(ops.matmul(inputs, kernel), training=training)

    def biased(self, products, training=False):
        """What the units sum up, of the products with the kernel."""
        if self.bias is None:
            return products
        return ops.add(products, self.effective_bias(training=training))


class ConvolutionHost(KernelHost):
    """What the convolutions have in common."""

    def sums(self, inputs, training=False):
        """What the units sum up: products with the kernel, and the bias."""
        kernel = self.effective_kernel(training=training)
        return self.biased(self.convolved(inputs, kernel), training=training)

    def convolved(self, inputs, kernel):
        """The inputs convolved with a kernel."""
        return self.convolution_op(inputs, kernel)

    def biased(self, products, training=False):
        """What the units sum up, of the products with the kernel."""
        if self.bias is None:
            return products
        bias = self.effective_bias(training=training)
        if self.data_format == "channels_last":
            return ops.add(products, bias)
        # `ops.add` would take it for one of channels that come last where the width is
        # their number, as it does in Keras's layers.
        sides = (1,) * (len(products.shape) - 2)
        return ops.subtract(products, ops.reshape(-bias, (-1, *sides)))


class Conv1DHost(ConvolutionHost, keras.layers.Conv1D):
    """`Conv1D` on its effective kernel."""

    def convolved(self, inputs, kernel):
        padding = self.padding
        if padding == "causal":
            past = self.dilation_rate[0] * (self.kernel_size[0] - 1)
            last = self.data_format == "channels_last"
            steps, channels = [past, 0], [0, 0]
            sides = (steps, channels) if last else (channels, steps)
            inputs, padding = ops.pad(inputs, [[0, 0], *sides]), "valid"
        return ops.conv(
            inputs,
            kernel,
            strides=list(self.strides),
            padding=padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )


class Conv2DHost(ConvolutionHost, keras.layers.Conv2D):
    """`Conv2D` on its effective kernel."""


class DepthwiseConv2DHost(ConvolutionHost, keras.layers.DepthwiseConv2D):
    """`DepthwiseConv2D` on its effective kernel."""

    reads_every_channel = False

    @property
    def matrix_shape(self):
        *window, channels, multiplier = self.kernel.shape
        return math.prod(window), channels * multiplier

    @property
    def matrix_groups(self):
        return self.kernel.shape[-2]

    def convolved(self, inputs, kernel):
        return ops.depthwise_conv(
            inputs,
            kernel,
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
