"""The steps of a factorised convolution: windows, columns, rows, 1 x 1 products."""

from keras import ops


class Geometry:
    """Strides, padding and dilation of a convolution, channels last."""

    def __init__(self, strides=(1, 1), padding="valid", dilation_rate=(1, 1)):
        self.strides = tuple(strides)
        self.padding = padding
        self.dilation_rate = tuple(dilation_rate)

    def window(self, inputs, kernel):
        """The whole convolution."""
        return self._convolve(inputs, kernel, self.strides, self.dilation_rate)

    def column(self, inputs, kernel):
        """Its part along the height."""
        strides, rates = self.strides, self.dilation_rate
        return self._convolve(inputs, kernel, (strides[0], 1), (rates[0], 1))

    def row(self, inputs, kernel):
        """Its part along the width."""
        strides, rates = self.strides, self.dilation_rate
        return self._convolve(inputs, kernel, (1, strides[1]), (1, rates[1]))

    def each(self, inputs, kernel):
        """One window for each channel: a kernel of `(height, width, channels)`."""
        kernel = ops.expand_dims(kernel, -1)
        if self.strides[0] == self.strides[1]:
            return self._depthwise(inputs, kernel, self.strides, self.padding)
        # TensorFlow's has one stride: pad by hand, and keep what the strides keep.
        inputs = self._padded(inputs, kernel.shape[:2])
        outputs = self._depthwise(inputs, kernel, (1, 1), "valid")
        return outputs[:, :: self.strides[0], :: self.strides[1]]

    def mix(self, inputs, matrix):
        """A product at every pixel."""
        kernel = ops.reshape(matrix, (1, 1, *matrix.shape))
        return ops.conv(inputs, kernel, 1, "valid", "channels_last")

    def _convolve(self, inputs, kernel, strides, rates):
        return ops.conv(inputs, kernel, strides, self.padding, "channels_last", rates)

    def _depthwise(self, inputs, kernel, strides, padding):
        return ops.depthwise_conv(
            inputs, kernel, strides, padding, "channels_last", self.dilation_rate
        )

    def _padded(self, inputs, window):
        if self.padding == "valid":
            return inputs
        pads = []
        axes = zip(window, self.strides, self.dilation_rate, strict=True)
        for axis, (side, stride, rate) in enumerate(axes, start=1):
            size = ops.shape(inputs)[axis]
            outputs = (size + stride - 1) // stride
            total = (outputs - 1) * stride + rate * (side - 1) + 1 - size
            total = ops.maximum(total, 0) if ops.is_tensor(total) else max(total, 0)
            pads.append((total // 2, total - total // 2))
        return ops.pad(inputs, [(0, 0), *pads, (0, 0)])
