"""What stands behind the sums of a trained bitwise layer, as thresholds or floats."""

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_compress.functional import thresholds as folding
from keras_compress.functional.sign import signs
from keras_compress.functional.signs import PANEL_UNITS
from keras_compress.layers.bitwise import BitwiseDense

# They move numbers about, or choose among them, and do nothing to them.
MOVING = (
    keras.layers.Flatten,
    keras.layers.MaxPooling2D,
    keras.layers.ZeroPadding2D,
)
# Sums on which a fused normalisation is held against the trained one.
TRIED = 512


@dataclasses.dataclass(frozen=True)
class Piece:
    """A trained bitwise layer, and what of its surroundings it takes over."""

    layer: Any
    """The `BitwiseDense` or `BitwiseConv2D`, in stage 2."""
    behind: tuple = ()
    """The layers between its sums and what takes their signs; or a normalisation."""
    bits: bool = False
    """Whether it hands on packed bits."""
    channels: int | None = None
    """Of packed inputs: so many signs begin with a new word. Otherwise `None`."""
    coding: Any = None
    """The `BipolarCoding` or `ZeroOneCoding` before it that it takes over."""


def end_of(piece):
    """What becomes of the sums of signs of a piece, in terms of a packed layer.

    Args:
        piece: A `Piece`.

    Returns:
        Dict of arrays, one number a unit, as `PackedSigns.fill` takes them, and perhaps
        `bias_first`.

    Raises:
        ValueError: If a sign is not defined, for what it is taken of is NaN.
    """
    kernel = kernel_of(piece.layer)
    if piece.bits:
        return _bits_end(piece, kernel)
    if piece.behind:
        return _normalised_end(piece, kernel)
    return _float_end(piece.layer, kernel)


def flips_of(piece, pooling):
    """Which units of a piece a max pooling behind it pools to their minimum.

    They are those whose signs fall, as what the pooling gives rises.

    Args:
        piece: A `Piece` that gives bits.
        pooling: One of the layers of its `behind`.

    Returns:
        Boolean array `(units,)`.
    """
    place = piece.behind.index(pooling)
    most = _most(kernel_of(piece.layer))
    values = _values(piece, piece.behind[:place])
    ends = values(-most), values(most)

    def rest(values):
        return _sign(_through(piece.behind[place + 1 :], _shaped(piece, values)))

    return folding.falls(rest, np.minimum(*ends), np.maximum(*ends))


def can_normalise(layer, normalisation):
    """Whether `packed_layer` can take over a batch normalisation, bit for bit.

    Args:
        layer: A `BitwiseDense` in stage 2.
        normalisation: A `BatchNormalization` of its outputs.
    """
    if type(layer) is not BitwiseDense or layer.scale:
        return False
    linear = layer.activation in (None, keras.activations.linear)
    integers = layer.bias is None or layer.bitwise_bias
    dtypes = {layer.compute_dtype, normalisation.compute_dtype}
    if not (linear and integers) or dtypes != {"float32"}:
        return False
    kernel, piece = kernel_of(layer), Piece(layer, (normalisation,))
    end = _normalised_end(piece, kernel)
    if not _can_add(layer, kernel, end["added"]):
        return False
    # The order of its roundings is TensorFlow's affair; here it is tried.
    trained, most = _values(piece, piece.behind), _most(kernel)
    for part in np.linspace(-1.0, 1.0, TRIED):
        sums = np.rint(part * most).astype(np.int64)
        whole = (sums - _total(kernel)) + sums if _is_zero_one(layer) else sums
        ours = (whole + end["added"]).astype("float32") * end["scale"] + end["bias"]
        if (ours != trained(sums)).any():
            return False
    return True


def _bits_end(piece, kernel):
    """Thresholds and flips that give the signs behind all of `behind`."""
    most, values = _most(kernel), _values(piece, piece.behind)
    try:
        limits, flips = folding.fold_sign(lambda x: _sign(values(x)), -most, most)
    except ValueError as error:
        raise ValueError(
            f"Layer {piece.layer.name!r} cannot be packed, for its units have no sign. "
            f"{error}"
        ) from error
    if _is_zero_one(piece.layer):
        limits = folding.thresholds_of_signs(limits, _total(kernel))
    return {"thresholds": limits, "flips": flips}


def _float_end(layer, kernel):
    """What makes of sums of signs what the trained layer makes of its sums.

    `(sum + added) * scale + bias`, or, with `bias_first`, the bias before the scale.
    """
    bias = None if layer.bias is None else _numbers(layer, layer.effective_bias())
    half, added = _halves(layer, kernel)
    if not _can_add(layer, kernel, added):
        raise ValueError(
            f"Layer {layer.name!r} cannot be packed: with inputs='zero_one', its units "
            "seem to have no zeros, by their sums. Binarize it with another sparsity."
        )
    if not layer.scale:
        scale = None if half == 1 else np.full(len(added), half, "float32")
        return {"added": added, "scale": scale, "bias": bias}
    # A factor of 2 changes no rounding.
    scale = _numbers(layer, layer.unit_scale()) * half
    if bias is None:
        return {"added": added, "scale": scale}
    bias = bias / half
    whole = added + np.rint(bias).astype(np.int64)
    if layer.bitwise_bias and _can_add(layer, kernel, whole):
        return {"added": whole, "scale": scale}
    return {"added": added, "scale": scale, "bias": bias, "bias_first": True}


def _normalised_end(piece, kernel):
    """`_float_end` with the normalisation that is all of `behind`."""
    layer, norm = piece.layer, piece.behind[0]
    half, added = _halves(layer, kernel)
    if layer.bias is not None:
        bias = _numbers(layer, layer.effective_bias()) / half
        added = added + np.rint(bias).astype(np.int64)
    mean, variance, gamma, beta = (
        None if x is None else tf.convert_to_tensor(_numbers(norm, x))
        for x in (norm.moving_mean, norm.moving_variance, norm.gamma, norm.beta)
    )
    scale = tf.math.rsqrt(variance + norm.epsilon)
    scale = scale if gamma is None else scale * gamma
    shift = -mean * scale if beta is None else beta - mean * scale
    return {"added": added, "scale": scale.numpy() * half, "bias": shift.numpy()}


def _halves(layer, kernel):
    """What a sum of signs is multiplied by in the end, and what is added before.

    With inputs of 0 and 1, `z = (s + 1) / 2`, the trained sum is half of that of the
    signs and of the weights.
    """
    total = _total(kernel)
    if _is_zero_one(layer):
        return np.float32(0.5), total
    return np.float32(1.0), np.zeros_like(total)


def _can_add(layer, kernel, added):
    """Whether `added` leaves no panel of masked units that seems to be without zeros.

    Kernels take the faster way where as many weights are kept as there are inputs.
    """
    if not np.any(added) or kernel.all():
        return True
    matrix = kernel.reshape(-1, kernel.shape[-1])
    kept = np.count_nonzero(matrix, axis=0)
    seems_full = _by_panel(kept + added >= len(matrix))
    return not (seems_full & ~_by_panel(kept == len(matrix))).any()


def _by_panel(truths):
    units = -(-len(truths) // PANEL_UNITS) * PANEL_UNITS
    full = np.pad(truths, (0, units - len(truths)), constant_values=True)
    return full.reshape(-1, PANEL_UNITS).all(axis=1)


def _values(piece, behind):
    """A function from integers, one a unit, to what `behind` makes of such sums."""
    layer = piece.layer

    def values(sums):
        sums = _shaped(piece, sums)
        return _through(behind, layer.activate(layer.biased(sums)))

    return values


def _through(layers, tensor):
    """The outputs of those of these layers that do not just move numbers."""
    for layer in layers:
        if not isinstance(layer, MOVING):
            tensor = layer(tensor)
    return _numbers(None, tensor).ravel()


def _shaped(piece, values):
    """Numbers, one a unit, as a tensor that the layers behind take for outputs."""
    node = piece.layer._inbound_nodes[-1]
    shape = [1] * len(node.output_tensors[0].shape)
    shape[piece.layer.channel_axis] = -1
    return ops.cast(np.reshape(values, shape), piece.layer.compute_dtype)


def _sign(values):
    return _numbers(None, signs(values))


def _numbers(layer, tensor):
    """A NumPy array of what a tensor holds, as it is in the compute dtype."""
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    if layer is not None:
        dtype = layer.compute_dtype
        tensor = ops.cast(tensor, dtype)
    wide = "float64" if dtype == "float64" else "float32"
    return ops.convert_to_numpy(ops.cast(tensor, wide))


def kernel_of(layer):
    """The weights of stage 2; those of groups in one kernel, with zeros."""
    kernel = layer.ternary_kernel
    groups = getattr(layer, "groups", 1)
    if groups == 1:
        return kernel
    *window, channels, filters = kernel.shape
    whole = np.zeros((*window, groups * channels, filters), kernel.dtype)
    each = filters // groups
    for i in range(groups):
        own = slice(i * each, (i + 1) * each)
        whole[..., i * channels : (i + 1) * channels, own] = kernel[..., own]
    return whole


def _most(kernel):
    """The greatest sum of each unit."""
    return np.count_nonzero(kernel.reshape(-1, kernel.shape[-1]), axis=0)


def _total(kernel):
    """The sum of the weights of each unit."""
    return kernel.reshape(-1, kernel.shape[-1]).sum(axis=0, dtype=np.int64)


def _is_zero_one(layer):
    return layer.inputs == "zero_one"
