"""Keras layers that compute with `effective_kernel()`; alone, each is its parent.

A technique stands as a mixin to the left of a host, may add variables in `build`, and
changes `effective_kernel`. Hosts and mixins are never instantiated by users.
"""

import keras
from keras import ops

from keras_compress._validation import invalid


class KernelHost:
    """What every host does differently from its Keras parent."""

    # Keras's Dense and Conv save (kernel, bias) by position and would lose a mask or
    # a scale. This saves every variable, as it is.
    save_own_variables = keras.layers.Layer.save_own_variables
    load_own_variables = keras.layers.Layer.load_own_variables

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


class Conv2DHost(KernelHost, keras.layers.Conv2D):
    """`Conv2D` on its effective kernel."""

    def sums(self, inputs, training=False):
        """What the units sum up: products with the kernel, and the bias."""
        kernel = self.effective_kernel(training=training)
        return self.biased(self.convolution_op(inputs, kernel), training=training)

    def biased(self, products, training=False):
        """What the units sum up, of the products with the kernel."""
        if self.bias is None:
            return products
        channels_last = self.data_format == "channels_last"
        shape = (1, 1, 1, -1) if channels_last else (1, -1, 1, 1)
        bias = self.effective_bias(training=training)
        return ops.add(products, ops.reshape(bias, shape))
