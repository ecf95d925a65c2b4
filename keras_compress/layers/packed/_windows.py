"""Sizes of windows on images, and how many places they have."""

from keras_compress._validation import check_int, invalid


def pair(name, value):
    """`value` as two positive integers."""
    both = (value, value) if isinstance(value, int) else value
    if not isinstance(both, list | tuple) or len(both) != 2:
        raise invalid(name, "a positive integer or a pair of them", value)
    return tuple(check_int(name, side, minimum=1) for side in both)


def output_size(size, window, stride, dilation, padding):
    """Places of a window along an axis; `None` if its size is not known."""
    if size is None:
        return None
    if padding == "same":
        return -(-size // stride)
    return (size - dilation * (window - 1) - 1) // stride + 1


def output_sizes(layer, sizes):
    """Height and width of what a convolution gives for images of these sizes."""
    axes = zip(
        sizes, layer.kernel_size, layer.strides, layer.dilation_rate, strict=True
    )
    return [output_size(*axis, layer.padding) for axis in axes]
