"""`pack`: an inference-only model that stores and computes only what is left."""

import math

import keras
import numpy as np
from keras import ops

from keras_compress._copies import carry_compile
from keras_compress._rebuild import DROP, check_model, is_wrapper, rebuild, walk
from keras_compress._validation import check_int
from keras_compress.functional.convolution import is_faster
from keras_compress.functional.ranks import factors_pay
from keras_compress.functional.sparse import sparse_pays
from keras_compress.layers._config import arguments_of, copy_variables
from keras_compress.layers._factor_layers import factor_layers
from keras_compress.layers._stages import SIGN, is_staged
from keras_compress.layers.low_rank import LowRankConv2D, LowRankDense
from keras_compress.layers.packed.sparse import SparseConv2D, SparseDense
from keras_compress.layers.projected import ProjectedConv2D, ProjectedDense
from keras_compress.layers.pruned import PrunedConv2D, PrunedDense

# They do nothing once training is over.
TRAINING_ONLY = (
    keras.layers.ActivityRegularization,
    keras.layers.AlphaDropout,
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
)


def pack(model, *, batch=None):
    """The inference form of a compressed model: smaller, faster, same outputs.

    Pruned layers become `SparseDense` and `SparseConv2D`, which keep the weights that
    are not zero; or plain `Dense` and `Conv2D` where those are smaller or faster, by
    `keras_compress.functional.sparse.sparse_pays`. Convolutions in groups stay plain.
    Low-rank and projected layers become plain layers one after the other, in a model
    of the layer's name, or are multiplied back into one where that is faster, by
    `keras_compress.functional.ranks.factors_pay` and
    `keras_compress.functional.convolution.is_faster`.
    Dropout, noise and activity regularisation vanish (but not where they are called
    with `training=True`, and not subclasses of them, which may do anything). All other
    layers stay as they are, with weights that no longer train. Loss and metrics are
    carried over, so that `evaluate` works at once. The outputs equal those of the
    trained model to float32 rounding.

    Args:
        model: A built Sequential or Functional model with compressed layers. It is
            left as it is.
        batch: Positive integer, the batch size that the model will mostly see, by
            which the faster form is chosen. Defaults to whatever is fast both for
            single samples and for batches of 64.

    Returns:
        The packed model.

    Raises:
        ValueError: If the model has no compressed layer, cannot be rebuilt, has a
            bitwise layer (whose packed form is not in this version), or `batch` is out
            of range.

    Example:

    >>> model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(32)])
    >>> small = keras_compress.swap(model, keras_compress.Prune())
    >>> small.layers[0].prune(sparsity=0.9)
    >>> [type(layer).__name__ for layer in pack(small).layers]
    ['SparseDense']
    """
    check_model("model", model)
    if batch is not None:
        check_int("batch", batch, minimum=1)
    for _, layer in walk(model):
        _check_not_bitwise(layer)
    if not any(type(layer) in PACKERS for _, layer in walk(model)):
        raise ValueError(
            f"`model` must have compressed layers to pack. Received: {model.name!r}, "
            "which has none. Swap some first: keras_compress.swap(model, "
            "keras_compress.Prune())"
        )

    wrapped = set()

    def replace(layer):
        if type(layer) in TRAINING_ONLY:
            return DROP
        if _is_dense_in_time(layer):
            # Dense works on the last axis anyway, and without the wrapper's loop.
            return _pack_pruned_dense(layer.layer, layer.name, batch)
        if is_wrapper(layer) and type(layer) is not keras.layers.TimeDistributed:
            # It may want a kernel, as spectral normalisation does.
            wrapped.add(id(layer.layer))
        packer = PACKERS.get(type(layer))
        if packer is None:
            return None
        return packer(layer, layer.name, batch, plain=id(layer) in wrapped)

    packed = rebuild(model, replace)
    packed.trainable = False
    carry_compile(model, packed, jit_compile="auto")
    return packed


def _check_not_bitwise(layer):
    """Raises for layers whose packed form is not there, or not to be had yet."""
    if not is_staged(layer):
        return
    if layer.stage_number < SIGN:
        raise ValueError(
            f"`model` must be trained to the end of stage 2 to be packed. Received: "
            f"layer {layer.name!r} in stage {layer.stage_number}. Fit the model with "
            "keras_compress.callbacks.Binarization(), or call `binarize` of the layer."
        )
    raise ValueError(
        f"Packing bitwise layers is not in this version. Received: layer "
        f"{layer.name!r} ({type(layer).__name__}) in `model`. Export the model as it "
        "is, with keras_compress.export."
    )


def _is_dense_in_time(layer):
    return (
        isinstance(layer, keras.layers.TimeDistributed)
        and type(layer.layer) is PrunedDense
    )


def _pack_pruned_dense(layer, name, batch, plain=False):
    common = {"units": layer.units, **_common_arguments(layer, name)}
    if not plain and _sparse_pays(layer, batch):
        new = SparseDense(nonzeros=_nonzeros(layer), **common)
        return new, lambda: _fill_sparse(new, layer)
    new = keras.layers.Dense(**common)
    return new, lambda: _fill_plain(new, layer)


def _pack_pruned_conv2d(layer, name, batch, plain=False):
    common = {**_geometry(layer), **_common_arguments(layer, name)}
    # Every output pixel is a row of the product, so even one image is a large batch.
    if not plain and layer.groups == 1 and _sparse_pays(layer, batch=64):
        new = SparseConv2D(nonzeros=_nonzeros(layer), **common)
        return new, lambda: _fill_sparse(new, layer)
    new = keras.layers.Conv2D(groups=layer.groups, **common)
    return new, lambda: _fill_plain(new, layer)


def _pack_factors(layer, name, batch, plain=False):
    """Factors one after the other, or multiplied back into one kernel."""
    if plain or not _factors_pay(layer, batch):
        return _multiplied_back(layer, name)
    parts = factor_layers(layer, name)
    if parts is None:  # Keras has no layers for its steps: it runs as it is.
        new = type(layer)(**_without_training(layer, name))
        return new, lambda: copy_variables(layer, new)
    layers, fill = parts
    return keras.Sequential(layers, name=name), fill


def _multiplied_back(layer, name):
    common = _common_arguments(layer, name)
    if isinstance(layer, keras.layers.Dense):
        new = keras.layers.Dense(layer.units, **common)
    else:
        new = keras.layers.Conv2D(**_geometry(layer), **common)
    return new, lambda: _fill_plain(new, layer)


def _without_training(layer, name):
    arguments = arguments_of(layer)
    for key in arguments:
        if key.endswith(("_regularizer", "_constraint")):
            arguments[key] = None
    return {**arguments, "name": name}


def _factors_pay(layer, batch):
    if layer.kernel_rank is None:
        return False
    batches = (1, 64) if batch is None else (batch,)
    if isinstance(layer, keras.layers.Dense):
        shape = layer.effective_kernel().shape
        return all(factors_pay(*shape, layer.kernel_rank, size) for size in batches)
    shape = tuple(layer.effective_kernel().shape)
    method = getattr(layer, "method", "svd")
    clusters = getattr(layer, "clusters", (1, 1))
    args = method, shape, layer.kernel_rank, layer.strides, clusters
    return all(is_faster(*args, _pixels(layer) * size) for size in batches)


def _pixels(layer):
    """Output pixels of an image; 32 x 32 where they are not known, or not the same."""
    try:
        shape = layer.output.shape
    except (AttributeError, ValueError):  # called elsewhere, or more than once
        return 1024
    sides = shape[1:3] if layer.data_format == "channels_last" else shape[2:4]
    return 1024 if None in sides else math.prod(sides)


# How each trained layer is packed: a function of the layer, the new name, the batch
# hint and whether it must stay plain, to a new layer and what fills it once built.
PACKERS = {
    PrunedDense: _pack_pruned_dense,
    PrunedConv2D: _pack_pruned_conv2d,
    LowRankDense: _pack_factors,
    LowRankConv2D: _pack_factors,
    ProjectedDense: _pack_factors,
    ProjectedConv2D: _pack_factors,
}


def _geometry(layer):
    return {
        "filters": layer.filters,
        "kernel_size": layer.kernel_size,
        "strides": layer.strides,
        "padding": layer.padding,
        "data_format": layer.data_format,
        "dilation_rate": layer.dilation_rate,
    }


def _common_arguments(layer, name):
    arguments = arguments_of(layer)
    kept = {key: arguments[key] for key in ("dtype", "activation", "use_bias")}
    return {"name": name, **kept}


def _kernel(layer):
    return ops.convert_to_numpy(layer.effective_kernel())


def _nonzeros(layer):
    # As float32, in which it is stored: what is too small for that is a zero there.
    return int(np.count_nonzero(_kernel(layer).astype("float32")))


def _sparse_pays(layer, batch):
    matrix = _kernel(layer).reshape(-1, layer.kernel.shape[-1])
    sparsity = 1.0 - np.count_nonzero(matrix) / matrix.size
    batches = (1, 64) if batch is None else (batch,)
    return all(sparse_pays(*matrix.shape, sparsity, size) for size in batches)


def _fill_sparse(new, layer):
    copy_variables(layer, new)
    new.fill(_kernel(layer), layer.bias)


def _fill_plain(new, layer):
    copy_variables(layer, new)
    new.kernel.assign(layer.effective_kernel())
