"""`pack`: an inference-only model that stores and computes only what is left."""

import keras
import numpy as np
from keras import ops

from keras_compress._rebuild import DROP, carry_compile, check_model, rebuild, walk
from keras_compress._validation import check_int
from keras_compress.functional.sparse import sparse_pays
from keras_compress.layers._stages import SIGN, is_staged
from keras_compress.layers.packed.sparse import SparseConv2D, SparseDense
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
    Dropout, noise and activity regularisation vanish. All other layers stay as they
    are, with weights that no longer train. Loss and metrics are carried over, so that
    `evaluate` works at once. The outputs equal those of the trained model to float32
    rounding.

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

    def replace(layer):
        if isinstance(layer, TRAINING_ONLY):
            return DROP
        if _is_dense_in_time(layer):
            # Dense works on the last axis anyway, and without the wrapper's loop.
            return PACKERS[type(layer.layer)](layer.layer, batch, layer.name)
        packer = PACKERS.get(type(layer))
        return None if packer is None else packer(layer, batch, layer.name)

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


def _pack_pruned_dense(layer, batch, name):
    kernel = _kernel(layer)
    common = {
        "units": layer.units,
        "name": name,
        "dtype": layer.dtype_policy,
        "activation": layer.activation,
        "use_bias": layer.use_bias,
    }
    if _sparse_pays(kernel, batch):
        new = SparseDense(nonzeros=np.count_nonzero(kernel), **common)
        return new, lambda: new.fill(kernel, layer.bias)
    new = keras.layers.Dense(**common)
    return new, lambda: _fill_plain(new, kernel, layer.bias)


def _pack_pruned_conv2d(layer, batch, name):
    kernel = _kernel(layer)
    common = {
        "filters": layer.filters,
        "kernel_size": layer.kernel_size,
        "strides": layer.strides,
        "padding": layer.padding,
        "data_format": layer.data_format,
        "dilation_rate": layer.dilation_rate,
        "name": name,
        "dtype": layer.dtype_policy,
        "activation": layer.activation,
        "use_bias": layer.use_bias,
    }
    # Every output pixel is a row of the product, so even one image is a large batch.
    if layer.groups == 1 and _sparse_pays(kernel, batch=64):
        new = SparseConv2D(nonzeros=np.count_nonzero(kernel), **common)
        return new, lambda: new.fill(kernel, layer.bias)
    new = keras.layers.Conv2D(groups=layer.groups, **common)
    return new, lambda: _fill_plain(new, kernel, layer.bias)


# How each trained layer is packed: a function of the layer, the batch hint and the new
# name, to a new layer and what fills it once it is built.
PACKERS = {
    PrunedDense: _pack_pruned_dense,
    PrunedConv2D: _pack_pruned_conv2d,
}


def _kernel(layer):
    return ops.convert_to_numpy(ops.cast(layer.effective_kernel(), "float32"))


def _sparse_pays(kernel, batch):
    matrix = kernel.reshape(-1, kernel.shape[-1])
    sparsity = 1.0 - np.count_nonzero(matrix) / matrix.size
    batches = (1, 64) if batch is None else (batch,)
    return all(sparse_pays(*matrix.shape, sparsity, size) for size in batches)


def _fill_plain(layer, kernel, bias):
    layer.kernel.assign(kernel)
    if layer.bias is not None:
        layer.bias.assign(bias)
