"""Signs of images: kernels of convolutions packed pixel by pixel, and the results."""

import numpy as np

from keras_compress._validation import check_choice, invalid
from keras_compress.functional.signs import pack_bits, pack_signs, to_panels


def pack_conv2d_kernel(kernel, mask=None):
    """A convolution's weights in {-1, +1}, or in {-1, 0, +1}, as kernels read it.

    The channels of each tap of the window fill whole words, as those of each pixel of
    packed images do; the bits after the last channel are 0 in both.

    Args:
        kernel: Float array `(height, width, channels, filters)`, of which the signs
            count.
        mask: Array like `kernel` that is true where a weight is kept; `None` keeps all.

    Returns:
        A tuple `(signs, masks, kept)`: uint32 panels
        `(ceil(filters / 16), height * width * ceil(channels / 32), 16)`, with sign 0
        where a weight is dropped; the same for the mask, with no panels where nothing
        is dropped; int32 `(filters,)`, how many weights of each filter are kept.

    Raises:
        ValueError: If `kernel` has not four axes, is not of floats, holds NaN, or
            `mask` has another shape.

    Example:

    >>> signs, masks, kept = pack_conv2d_kernel(np.ones((3, 3, 40, 8), "float32"))
    >>> signs.shape, masks.shape, kept[0]
    ((1, 18, 16), (0, 18, 16), np.int32(360))
    """
    kernel = np.asarray(kernel)
    if kernel.ndim != 4:
        expected = "of shape (height, width, channels, filters)"
        raise invalid("kernel", expected, kernel.shape)
    filters = kernel.shape[3]
    rows = pack_signs(np.moveaxis(kernel, 3, 0)).reshape(filters, -1)
    keep = np.ones(kernel.shape, bool) if mask is None else np.asarray(mask) != 0
    if keep.shape != kernel.shape:
        raise invalid("mask", f"of shape {kernel.shape}", keep.shape)
    kept = np.count_nonzero(keep, axis=(0, 1, 2)).astype(np.int32)
    masks = pack_bits(np.moveaxis(keep, 3, 0)).reshape(filters, -1)
    panels = to_panels(masks)
    return to_panels(rows & masks), panels[:0] if keep.all() else panels, kept


def sign_convolution(
    images,
    kernel,
    *,
    strides=(1, 1),
    padding="valid",
    dilations=(1, 1),
    border="zeros",
):
    """The sums that a bitwise convolution computes, by integers.

    Args:
        images: Array `(batch, height, width, channels)`; a negative number is -1, any
            other +1.
        kernel: Array `(height, width, channels, filters)` of -1, 0 and +1.
        strides: Two integers >= 1.
        padding: `"valid"` or `"same"`, as TensorFlow has it.
        dilations: Two integers >= 1.
        border: What lies beyond the edges for `"same"`: `"zeros"` or `"ones"`.

    Returns:
        Int32 array `(batch, new_height, new_width, filters)`.

    Raises:
        ValueError: If an argument is not as said above.

    Example:

    >>> images, kernel = np.ones((1, 2, 2, 1)), np.ones((3, 3, 1, 1))
    >>> sign_convolution(images, kernel, padding="same")[0, :, :, 0]
    array([[4, 4],
           [4, 4]], dtype=int32)
    """
    check_choice("padding", padding, ("valid", "same"))
    outside = {"zeros": 0, "ones": 1}[check_choice("border", border, ("zeros", "ones"))]
    images = np.where(np.asarray(images) < 0, -1, 1)
    kernel = np.asarray(kernel).astype(int)
    places = [
        window_places(*numbers, padding=padding)
        for numbers in zip(
            images.shape[1:3], kernel.shape[:2], strides, dilations, strict=True
        )
    ]
    (height, width), pads = zip(*places, strict=True)
    images = np.pad(images, ((0, 0), *pads, (0, 0)), constant_values=outside)
    sums = np.zeros((len(images), height, width, kernel.shape[3]), int)
    for i, j in np.ndindex(*kernel.shape[:2]):
        lines = images[:, i * dilations[0] :: strides[0]][:, :height]
        pixels = lines[:, :, j * dilations[1] :: strides[1]][:, :, :width]
        sums += pixels @ kernel[i, j]
    return sums.astype(np.int32)


def window_places(size, window, stride, dilation=1, *, padding):
    """How many places a window has along an axis, and the padding it needs for them.

    Args:
        size: Integer >= 0, pixels along the axis.
        window: Integer >= 1, pixels in the window.
        stride: Integer >= 1, pixels from place to place.
        dilation: Integer >= 1, pixels from one of the window to the next.
        padding: `"valid"` or `"same"`, as TensorFlow has it.

    Returns:
        A tuple `(places, (before, after))`.

    Example:

    >>> window_places(8, 3, 2, padding="same")
    (4, (0, 1))
    """
    reach = (window - 1) * dilation + 1
    if padding == "valid":
        return max(-(-(size - reach + 1) // stride), 0), (0, 0)
    places = -(-size // stride)
    missing = max((places - 1) * stride + reach - size, 0) if places else 0
    return places, (missing // 2, missing - missing // 2)
