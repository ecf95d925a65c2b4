"""The table of layers: a row buys a layer every check of `test_every_layer.py`."""

import dataclasses
from collections.abc import Callable

import keras

import keras_compress as kc
from keras_compress.layers._config import SwapConfig


@dataclasses.dataclass(frozen=True)
class LayerCase:
    """A public training layer, and what the checks need to know of it."""

    layer: type
    parent: type
    arguments: dict
    """What both take and need."""
    own_arguments: dict
    """The technique's arguments, at other values than the defaults."""
    input_shape: tuple
    """Without the batch."""
    compress: Callable
    """Turns the technique on, for a built layer."""
    config: SwapConfig | tuple
    """What `swap` makes this layer with, one config after the other."""
    parent_arguments: dict
    """Arguments of the parent at other values than the defaults."""
    on: dict = dataclasses.field(default_factory=dict)
    """What it must be made with so that `compress` has something to turn on."""
    packs: bool = True
    """Whether `pack` has a form for it. If not, it must refuse, and the layer is
    exported as it was trained."""
    needs: dict = dataclasses.field(default_factory=dict)
    """Arguments of its own that turn the technique on, with nothing lost by it."""
    has_off: bool = True
    """Whether it equals its parent exactly without these; or it cannot do without."""

    @property
    def all_arguments(self):
        """What the layer is made with, technique on."""
        return {**self.arguments, **self.needs}

    @property
    def is_exact(self):
        """Whether nothing is rounded on the way from the parent's weights."""
        return not self.needs

    def __str__(self):
        return self.layer.__name__

    @property
    def configs(self):
        return self.config if isinstance(self.config, tuple) else (self.config,)


DENSE = {
    "activation": "relu",
    "use_bias": False,
    "kernel_initializer": "he_normal",
    "bias_initializer": "ones",
    "kernel_regularizer": keras.regularizers.L2(0.1),
    "bias_regularizer": keras.regularizers.L1(0.1),
    "activity_regularizer": keras.regularizers.L2(0.2),
    "kernel_constraint": keras.constraints.MaxNorm(1.0),
    "bias_constraint": keras.constraints.NonNeg(),
    "name": "named",
    "trainable": False,
    "dtype": "float64",
}
CONV2D = {**DENSE, "strides": 2, "padding": "same"}
CONV1D = {**CONV2D, "strides": 1, "padding": "causal"}
DEPTHWISE = {
    name.replace("kernel", "depthwise"): value for name, value in CONV2D.items()
}
DEPTHWISE["depth_multiplier"] = 2
BITWISE = {
    "inputs": "bits",
    "bits": 3,
    "gradient": "lecture",
    "straight_through": "swish",
    "scale": True,
    "bitwise_bias": False,
    "masked": True,
}

FORMATS = {
    "kernel_format": kc.QFormat(1, 4),
    "bias_format": kc.QFormat(2, 6),
    "input_format": kc.QFormat(2, 5),
    "pre_activation_format": kc.QFormat(5, 6, overflow="wrap"),
    "output_format": kc.QFormat(4, 3, rounding="floor"),
}
FIXED_POINT = {
    **FORMATS,
    "kernel_format": kc.QFormat(None, 4, rounding="stochastic"),
    "gradient": "clipped",
}
# What packs: whole numbers up to the outputs.
ON = {"kernel_format": kc.QFormat(1, 6), "bias_format": kc.QFormat(2, 5)}
ON = {**ON, "input_format": kc.QFormat(2, 5), "output_format": kc.QFormat(4, 3)}


def _prune_and_cluster(layer):
    layer.prune(sparsity=0.5)
    layer.cluster()


CASES = [
    LayerCase(
        layer=kc.layers.PrunedDense,
        parent=keras.layers.Dense,
        arguments={"units": 6},
        own_arguments={"pattern": (2, 3)},
        input_shape=(8,),
        compress=lambda layer: layer.prune(sparsity=0.5),
        config=kc.Prune(),
        parent_arguments=DENSE,
    ),
    LayerCase(
        layer=kc.layers.PrunedConv2D,
        parent=keras.layers.Conv2D,
        arguments={"filters": 4, "kernel_size": 3},
        own_arguments={"pattern": "neuron"},
        input_shape=(7, 6, 2),
        compress=lambda layer: layer.prune(sparsity=0.5),
        config=kc.Prune(),
        parent_arguments=CONV2D,
    ),
    LayerCase(
        layer=kc.layers.PrunedConv1D,
        parent=keras.layers.Conv1D,
        arguments={"filters": 4, "kernel_size": 3},
        own_arguments={"pattern": "2:3"},
        input_shape=(7, 2),
        compress=lambda layer: layer.prune(sparsity=0.3),
        config=kc.Prune(),
        parent_arguments=CONV1D,
    ),
    LayerCase(
        layer=kc.layers.PrunedDepthwiseConv2D,
        parent=keras.layers.DepthwiseConv2D,
        arguments={"kernel_size": 3},
        own_arguments={"pattern": (9, 2)},
        input_shape=(7, 6, 4),
        compress=lambda layer: layer.prune(sparsity=0.5),
        config=kc.Prune(),
        parent_arguments=DEPTHWISE,
    ),
    LayerCase(
        layer=kc.layers.BitwiseDense,
        parent=keras.layers.Dense,
        arguments={"units": 6},
        own_arguments=BITWISE,
        input_shape=(8,),
        compress=lambda layer: layer.binarize(sparsity=0.25),
        config=kc.Bitwise(),
        parent_arguments=DENSE,
    ),
    LayerCase(
        layer=kc.layers.BitwiseConv2D,
        parent=keras.layers.Conv2D,
        arguments={"filters": 4, "kernel_size": 3},
        own_arguments=BITWISE,
        input_shape=(7, 6, 2),
        compress=lambda layer: layer.binarize(sparsity=0.25),
        config=kc.Bitwise(),
        parent_arguments=CONV2D,
    ),
    LayerCase(
        layer=kc.layers.FixedPointDense,
        parent=keras.layers.Dense,
        arguments={"units": 6},
        own_arguments=FIXED_POINT,
        input_shape=(8,),
        compress=lambda layer: layer.set_noise("rounding"),
        config=kc.FixedPoint(),
        parent_arguments=DENSE,
        on=ON,
    ),
    LayerCase(
        layer=kc.layers.PrunedFixedPointDense,
        parent=keras.layers.Dense,
        arguments={"units": 6},
        own_arguments={**FIXED_POINT, "pattern": "neuron"},
        input_shape=(8,),
        compress=lambda layer: layer.prune(sparsity=0.5),
        config=(kc.FixedPoint(), kc.Prune()),
        parent_arguments=DENSE,
        on=ON,
    ),
    LayerCase(
        layer=kc.layers.FixedPointConv2D,
        parent=keras.layers.Conv2D,
        arguments={"filters": 4, "kernel_size": 3},
        own_arguments=FIXED_POINT,
        input_shape=(7, 6, 2),
        compress=lambda layer: layer.set_noise("rounding"),
        config=kc.FixedPoint(),
        parent_arguments=CONV2D,
        on=ON,
    ),
    LayerCase(
        layer=kc.layers.PrunedFixedPointConv2D,
        parent=keras.layers.Conv2D,
        arguments={"filters": 4, "kernel_size": 3},
        own_arguments={**FIXED_POINT, "pattern": "neuron"},
        input_shape=(7, 6, 2),
        compress=lambda layer: layer.prune(sparsity=0.5),
        config=(kc.FixedPoint(), kc.Prune()),
        parent_arguments=CONV2D,
        on=ON,
    ),
    LayerCase(
        layer=kc.layers.ClusteredDense,
        parent=keras.layers.Dense,
        arguments={"units": 6},
        own_arguments={"bits": 3, "init": "density"},
        input_shape=(8,),
        compress=lambda layer: layer.cluster(),
        config=kc.Cluster(bits=6),  # as many values as weights: nothing is lost
        parent_arguments=DENSE,
        on={"bits": 6},
    ),
    LayerCase(
        layer=kc.layers.ClusteredConv2D,
        parent=keras.layers.Conv2D,
        arguments={"filters": 4, "kernel_size": 3},
        own_arguments={"bits": 2, "init": "random"},
        input_shape=(7, 6, 2),
        compress=lambda layer: layer.cluster(),
        config=kc.Cluster(bits=7),
        parent_arguments=CONV2D,
        on={"bits": 7},
    ),
    LayerCase(
        layer=kc.layers.PrunedClusteredDense,
        parent=keras.layers.Dense,
        arguments={"units": 6},
        own_arguments={"bits": 3, "init": "random", "pattern": "neuron"},
        input_shape=(8,),
        compress=_prune_and_cluster,
        config=(kc.Prune(), kc.Cluster(bits=6)),
        parent_arguments=DENSE,
        on={"bits": 6},
    ),
    LayerCase(
        layer=kc.layers.PrunedClusteredConv2D,
        parent=keras.layers.Conv2D,
        arguments={"filters": 4, "kernel_size": 3},
        own_arguments={"bits": 2, "init": "density", "pattern": "neuron"},
        input_shape=(7, 6, 2),
        compress=_prune_and_cluster,
        config=(kc.Prune(), kc.Cluster(bits=7)),
        parent_arguments=CONV2D,
        on={"bits": 7},
    ),
    LayerCase(
        layer=kc.layers.LearnedStepDense,
        parent=keras.layers.Dense,
        arguments={"units": 6},
        own_arguments={"kernel_bits": 3},
        input_shape=(8,),
        compress=lambda layer: layer.set_step(),
        config=kc.LearnedStep(),
        parent_arguments=DENSE,
        on={"kernel_bits": 4},
    ),
    LayerCase(
        layer=kc.layers.LearnedStepConv2D,
        parent=keras.layers.Conv2D,
        arguments={"filters": 4, "kernel_size": 3},
        own_arguments={"kernel_bits": 3},
        input_shape=(7, 6, 2),
        compress=lambda layer: layer.set_step(),
        config=kc.LearnedStep(),
        parent_arguments=CONV2D,
        on={"kernel_bits": 4},
    ),
]

for training in ("factors", "projected"):
    dense, conv2d = kc.layers.LowRankDense, kc.layers.LowRankConv2D
    if training == "projected":
        dense, conv2d = kc.layers.ProjectedDense, kc.layers.ProjectedConv2D
    CASES += [
        LayerCase(
            layer=dense,
            parent=keras.layers.Dense,
            arguments={"units": 6},
            own_arguments={"rank": 2},
            input_shape=(8,),
            compress=lambda layer: layer.factorize(layer.effective_kernel()),
            config=kc.LowRank(rank=6, force=True, training=training),
            parent_arguments=DENSE,
            needs={"rank": 6},
            has_off=training == "projected",
        ),
        LayerCase(
            layer=conv2d,
            parent=keras.layers.Conv2D,
            arguments={"filters": 4, "kernel_size": 3},
            own_arguments={"rank": 2},
            input_shape=(7, 6, 2),
            compress=lambda layer: layer.factorize(layer.effective_kernel()),
            config=kc.LowRank(rank=4, force=True, training=training),
            parent_arguments=CONV2D,
            needs={"rank": 4},
            has_off=training == "projected",
        ),
    ]

# Layers without a Keras parent to be held against: test_bitwise_fit.py, test_coding.py,
# test_learned_step.py.
WITHOUT_PARENT = {
    kc.layers.BipolarCoding,
    kc.layers.BitsCoding,
    kc.layers.BitwiseActivation,
    kc.layers.ClippedReLU,
    kc.layers.LloydMaxCoding,
    kc.layers.ZeroOneCoding,
}
