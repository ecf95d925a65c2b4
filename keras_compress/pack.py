"""`pack`: an inference-only model that stores and computes only what is left."""

import keras
import numpy as np
from keras import ops

from keras_compress._copies import carry_compile
from keras_compress._pack_integers import pack_integers, plan_integers
from keras_compress._rebuild import DROP, check_model, is_wrapper, rebuild, walk
from keras_compress._validation import check_int
from keras_compress.functional.sparse import sparse_pays
from keras_compress.layers._config import arguments_of, copy_variables
from keras_compress.layers._fixed_point_kernel import is_fixed_point
from keras_compress.layers._stages import SIGN, is_staged
from keras_compress.layers.learned_step import LearnedStepConv2D, LearnedStepDense
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
            bitwise layer (whose packed form is not in this version) or a fixed-point
            one that does not fit into integers of 8 and sums of 32 bits, or `batch` is
            out of range.

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
    layers = [layer for _, layer in walk(model)]
    if not any(type(x) in PACKERS or is_fixed_point(x) for x in layers):
        raise ValueError(
            f"`model` must have compressed layers to pack. Received: {model.name!r}, "
            "which has none. Swap some first: keras_compress.swap(model, "
            "keras_compress.Prune())"
        )

    wrapped = set()
    plan = plan_integers(model)

    def replace(layer):
        if type(layer) in TRAINING_ONLY:
            return DROP
        if _is_dense_in_time(layer):
            # Dense works on the last axis anyway, and without the wrapper's loop.
            return _pack_pruned_dense(layer.layer, layer.name, batch)
        if is_wrapper(layer) and type(layer) is not keras.layers.TimeDistributed:
            # It may want a kernel, as spectral normalisation does.
            wrapped.add(id(layer.layer))
        if id(layer) in plan:
            return pack_integers(layer, plan[id(layer)])
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
    common = {
        "filters": layer.filters,
        "kernel_size": layer.kernel_size,
        "strides": layer.strides,
        "padding": layer.padding,
        "data_format": layer.data_format,
        "dilation_rate": layer.dilation_rate,
        **_common_arguments(layer, name),
    }
    # Every output pixel is a row of the product, so even one image is a large batch.
    if not plain and layer.groups == 1 and _sparse_pays(layer, batch=64):
        new = SparseConv2D(nonzeros=_nonzeros(layer), **common)
        return new, lambda: _fill_sparse(new, layer)
    new = keras.layers.Conv2D(groups=layer.groups, **common)
    return new, lambda: _fill_plain(new, layer)


def _pack_learned_dense(layer, name, batch, plain=False):
    # Steps that are learned are no powers of two: what is quantized stays float.
    return _pack_pruned_dense(layer, name, batch, plain=True)


def _pack_learned_conv2d(layer, name, batch, plain=False):
    return _pack_pruned_conv2d(layer, name, batch, plain=True)


# How each trained layer is packed: a function of the layer, the new name, the batch
# hint and whether it must stay plain, to a new layer and what fills it once built.
PACKERS = {
    PrunedDense: _pack_pruned_dense,
    PrunedConv2D: _pack_pruned_conv2d,
    LearnedStepDense: _pack_learned_dense,
    LearnedStepConv2D: _pack_learned_conv2d,
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
