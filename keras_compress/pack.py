"""`pack`: an inference-only model that stores and computes only what is left."""

import keras

from keras_compress._bit_plan import BitPlan
from keras_compress._copies import all_layers, carry_compile
from keras_compress._integer_plan import plan_integers
from keras_compress._layer_kinds import TRAINING_ONLY, check_inference
from keras_compress._pack_compact import store_compact
from keras_compress._pack_integers import pack_integers
from keras_compress._rebuild import (
    DROP,
    check_model,
    is_graph,
    is_wrapper,
    rebuild,
    walk,
)
from keras_compress._shrink import shrunk
from keras_compress._validation import check_choice, check_int
from keras_compress.layers._bitwise_fold import Piece
from keras_compress.layers._bitwise_kernel import bitwise
from keras_compress.layers._bitwise_pack import packed_layer
from keras_compress.layers._clustered_pack import PRUNED, as_pruned
from keras_compress.layers._fixed_point_kernel import is_fixed_point
from keras_compress.layers._low_rank_pack import pack_factors
from keras_compress.layers._plain_pack import pack_plain
from keras_compress.layers._pruned_pack import (
    pack_pruned_conv2d,
    pack_pruned_dense,
    pack_pruned_plain,
)
from keras_compress.layers._stages import SIGN, is_staged
from keras_compress.layers.bitwise import (
    BitwiseActivation,
    BitwiseConv2D,
    BitwiseDense,
)
from keras_compress.layers.clustered import (
    ClusteredConv2D,
    ClusteredDense,
    PrunedClusteredConv2D,
    PrunedClusteredDense,
)
from keras_compress.layers.coding import LloydMaxCoding
from keras_compress.layers.learned_step import LearnedStepConv2D, LearnedStepDense
from keras_compress.layers.low_rank import LowRankConv2D, LowRankDense
from keras_compress.layers.packed._storage import STORAGES
from keras_compress.layers.packed.packed_coding import PackedLloydMaxCoding
from keras_compress.layers.projected import ProjectedConv2D, ProjectedDense
from keras_compress.layers.pruned import (
    PrunedConv1D,
    PrunedConv2D,
    PrunedDense,
    PrunedDepthwiseConv2D,
    is_pruned,
)


def pack(model, *, batch=None, storage="fast"):
    """The inference form of a compressed model: smaller, faster, same outputs.

    Pruned layers become `SparseDense` and `SparseConv2D`, which keep the weights that
    are not zero, in the layout that is fastest for `batch`; or plain `Dense` and
    `Conv2D` where those are smaller or faster. Both go by the measured rates of
    `keras_compress.functional.sparse_cost`. Convolutions in groups, in one dimension
    and depthwise ones become plain layers, with zeros in their kernels.

    Low-rank and projected layers become `PackedLowRankDense`, one op for both products;
    plain layers one after the other, in a model of the layer's name; or are multiplied
    back into one where that is faster: by
    `keras_compress.functional.low_rank_cost.cheapest` and
    `keras_compress.functional.convolution.is_faster`.

    Clustered layers become plain ones, and pruned clustered ones what pruned ones do;
    `storage="compact"` makes of shared values a small file.

    Fixed-point layers become `IntegerDense` and `IntegerConv2D`, with weights of 16, 8
    or 4 bits. Where enough blocks of 4 inputs by 16 units are all zeros (the pattern
    `(4, 16)` of pruning), only the others are stored and multiplied.

    Bitwise layers become `PackedBitwiseDense` and `PackedBitwiseConv2D`, which keep one
    bit a weight, and two where weights are 0. What stands between two of them (biases,
    scales, batch normalisation, activations that only rise) becomes one integer
    threshold a unit, so that they hand each other packed bits, through
    `MaxPooling2D`, `ZeroPadding2D` and `Flatten`, too; those in a row become a
    `PackedBitwiseChain`, one op. The bits, and all sums, are exactly those of the
    trained model without XLA, which rounds in its own ways. Where numbers are wanted
    (by an addition, a real-valued layer, an output) a layer gives what the trained one
    gives. A `LloydMaxCoding` becomes a `PackedLloydMaxCoding`, one op.

    Dropout, noise and activity regularisation vanish (but not where they are called
    with `training=True`, and not subclasses of them, which may do anything). All other
    layers stay as they are, with weights that no longer train. Loss and metrics are
    carried over, so that `evaluate` works at once. The outputs equal those of the
    trained model to float32 rounding.

    In a pruned model, units and filters that do nothing vanish first, with what is
    computed for them only: those without weights, whose constant output goes into the
    biases behind them, and those that nothing reads; through sums all terms together,
    or none. Layers that are not known to treat every channel by itself keep all they
    read; a warning says how many channels of constants that leaves in.

    Args:
        model: A built Sequential or Functional model with compressed layers. It is
            left as it is.
        batch: Positive integer, the batch size that the model will mostly see, by
            which the faster form is chosen. Defaults to whatever is fast both for
            single samples and for batches of 64.
        storage: How the weights lie in a `.keras` or `.weights.h5` file. `"fast"`: as
            in memory. `"compact"`: as gaps between the weights that are not zero, and
            codes of shared values where there are 256 at most, entropy-coded; loading
            takes longer and gives the same variables, bit for bit, so that memory,
            speed and outputs are those of `"fast"`. For sparse and integer layers,
            and plain ones whose kernels have few different values. A SavedModel holds
            what a server has in memory, whichever is chosen.

    Returns:
        The packed model.

    Raises:
        ValueError: If the model has no compressed layer, cannot be rebuilt, calls a
            model inside it with `training=True`, has a bitwise layer that is not in
            stage 2 yet or a fixed-point one that does not fit into integers of 16 and
            sums of 32 bits, or `batch` or `storage` is not as said above.

    Example:

    >>> model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(32)])
    >>> small = keras_compress.swap(model, keras_compress.Prune())
    >>> small.layers[0].prune(sparsity=0.9)
    >>> [type(layer).__name__ for layer in pack(small).layers]
    ['SparseDense']
    """
    check_model("model", model)
    check_inference("model", model)
    if batch is not None:
        check_int("batch", batch, minimum=1)
    check_choice("storage", storage, STORAGES)
    for _, layer in walk(model):
        _check_binarized(layer)
    layers = [layer for _, layer in walk(model)]
    if not any(type(x) in PACKERS or is_fixed_point(x) for x in layers):
        raise ValueError(
            f"`model` must have compressed layers to pack. Received: {model.name!r}, "
            "which has none. Swap some first: keras_compress.swap(model, "
            "keras_compress.Prune())"
        )

    source, left = model, {}
    if any(map(is_pruned, layers)):
        clustered = any(type(layer) in PRUNED for layer in layers)
        source, left = shrunk(rebuild(model, as_pruned) if clustered else model)
    wrapped = set()
    bits = BitPlan(source, TRAINING_ONLY)
    integers = plan_integers(source)

    direct, made = _called_directly(source), {}

    def packed_once(layer, name):
        """The one packed form of a layer, however many places it stands in."""
        if id(layer) not in made:
            plain = id(layer) in wrapped
            packer = (PACKERS | CODINGS)[type(layer)]
            made[id(layer)] = packer(layer, name, batch, plain=plain)
        return made[id(layer)]

    def replace(layer):
        planned = bits.replace(layer)
        if planned is not None:
            return planned
        if type(layer) in TRAINING_ONLY:
            return DROP
        if _is_dense_in_time(layer):
            # Dense works on the last axis anyway, and without the wrapper's loop.
            inner = layer.layer
            return packed_once(inner, (inner if id(inner) in direct else layer).name)
        if is_wrapper(layer) and type(layer) is not keras.layers.TimeDistributed:
            # It may want a kernel, as spectral normalisation does.
            wrapped.add(id(layer.layer))
        if id(layer) in integers:
            return pack_integers(layer, integers[id(layer)], batch)
        known = type(layer) in PACKERS or type(layer) in CODINGS
        return packed_once(layer, layer.name) if known else None

    packed = rebuild(source, replace)
    if storage == "compact":
        packed = store_compact(packed)
    packed.trainable = False
    for layer in all_layers(packed):
        if layer.name in left:
            # For `report`.
            layer.left_as_it_was = (
                f"it may do anything with the {left[layer.name]} channels of constants "
                "that it reads"
            )
    carry_compile(model, packed, jit_compile="auto")
    return packed


def _check_binarized(layer):
    """Raises for layers that are not trained to the end."""
    if is_staged(layer) and layer.stage_number < SIGN:
        raise ValueError(
            f"`model` must be trained to the end of stage 2 to be packed. Received: "
            f"layer {layer.name!r} in stage {layer.stage_number}. Fit the model with "
            "keras_compress.callbacks.Binarization(), or call `binarize` of the layer."
        )


def _called_directly(model):
    """The ids of all layers that a graph calls, not a wrapper."""
    found = set()
    for layer in model.layers:
        found |= _called_directly(layer) if is_graph(layer) else {id(layer)}
    return found


def _is_dense_in_time(layer):
    return isinstance(layer, keras.layers.TimeDistributed) and type(layer.layer) in (
        PrunedDense,
        BitwiseDense,
    )


def _pack_bitwise(layer, name, batch, plain=False):
    if plain:
        raise ValueError(
            f"Layer {layer.name!r} ({type(layer).__name__}) cannot be packed inside a "
            "wrapper that looks at its kernel. Take it out of the wrapper."
        )
    return packed_layer(Piece(layer), name)


def _pack_bitwise_activation(layer, name, batch, plain=False):
    sign = keras.layers.Activation(bitwise, name=name, dtype=layer.dtype_policy)
    return sign, lambda: None


def _pack_levels(layer, name, batch, plain=False):
    new = PackedLloydMaxCoding(
        layer.bits, code=layer.code, name=name, dtype=layer.dtype_policy
    )
    return new, lambda: new.fill(layer.levels)


def _pack_learned(layer, name, batch, plain=False):
    # Steps that are learned are no powers of two: what is quantized stays float.
    return pack_plain(layer, name)


def _pack_clustered(layer, name, batch, plain=False):
    # In memory all weights have their values; a compact file has centroids and codes.
    return pack_plain(layer, name)


# How each trained layer is packed: a function of the layer, the new name, the batch
# hint and whether it must stay plain, to a new layer and what fills it once built.
PACKERS = {
    PrunedDense: pack_pruned_dense,
    PrunedConv1D: pack_pruned_plain,
    PrunedConv2D: pack_pruned_conv2d,
    PrunedDepthwiseConv2D: pack_pruned_plain,
    BitwiseDense: _pack_bitwise,
    BitwiseConv2D: _pack_bitwise,
    BitwiseActivation: _pack_bitwise_activation,
    LowRankDense: pack_factors,
    LowRankConv2D: pack_factors,
    ProjectedDense: pack_factors,
    ProjectedConv2D: pack_factors,
    ClusteredDense: _pack_clustered,
    ClusteredConv2D: _pack_clustered,
    PrunedClusteredDense: _pack_clustered,
    PrunedClusteredConv2D: _pack_clustered,
    LearnedStepDense: _pack_learned,
    LearnedStepConv2D: _pack_learned,
}
# They make no model a compressed one, but are faster so.
CODINGS = {LloydMaxCoding: _pack_levels}
