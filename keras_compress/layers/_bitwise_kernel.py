"""The bitwise technique: weights that are signs, trained by real-valued ghosts."""

import keras
import numpy as np
from keras import ops

from keras_compress._validation import check_choice, check_int, check_real, invalid
from keras_compress.functional import bitwise as maths
from keras_compress.functional import coding
from keras_compress.functional.masking import masked
from keras_compress.functional.sign import read, sign, signs
from keras_compress.layers._stages import (
    SIGN,
    TANH,
    Staged,
    check_straight_through,
)

INPUTS = ("sign", "bipolar", "zero_one", "bits")


@keras.saving.register_keras_serializable("keras_compress")
def bitwise(x):
    """Stands for `activation="bitwise"` in a layer; by itself, it is the sign."""
    return sign(x, "plain")


class BitwiseKernel(Staged):
    """The technique: a stage, and signs in place of the weights in the last one."""

    def __init__(
        self,
        *args,
        inputs="sign",
        bits=2,
        gradient="paper",
        straight_through=None,
        scale=False,
        bitwise_bias=True,
        masked=False,
        **kwargs,
    ):
        self.inputs = check_choice("inputs", inputs, INPUTS)
        self.bits = check_int("bits", bits, minimum=1, maximum=coding.MOST_BITS)
        self.gradient = check_choice("gradient", gradient, maths.GRADIENTS)
        self.straight_through = straight_through
        self.surrogate = check_straight_through(straight_through, gradient)
        self.scale = check_bool("scale", scale)
        self.bitwise_bias = check_bool("bitwise_bias", bitwise_bias)
        self.masked = check_bool("masked", masked)
        args = [_activation(value) for value in args]
        kwargs = {name: _activation(value) for name, value in kwargs.items()}
        super().__init__(*args, **kwargs)
        self.mask = None
        self.seed_generator = keras.random.SeedGenerator()

    def build(self, input_shape):
        super().build(self.coded_shape(input_shape))
        axis = self.channel_axis
        self.input_spec = keras.InputSpec(
            min_ndim=self.input_spec.min_ndim, axes={axis: input_shape[axis]}
        )
        self.add_stage()
        constant = keras.initializers.Constant
        self.beta = self.add_state("beta", "float32", constant(maths.KEEP_ALL))
        self.rate = self.add_state("rate", "float32", "ones")
        if self.masked:
            self.mask = self.add_state("mask", "bool", "ones", self.kernel.shape)

    def add_weight(self, *args, name=None, **kwargs):
        if name in ("kernel", "bias"):
            # In a short float, small steps of an optimizer are lost, and small weights
            # become 0, whose sign is another one's.
            dtype = self.variable_dtype
            kwargs["dtype"] = "float64" if dtype == "float64" else "float32"
            kwargs["autocast"] = False
        return super().add_weight(*args, name=name, **kwargs)

    def add_state(self, name, dtype, initializer, shape=()):
        """A variable that the optimizer leaves alone."""
        return self.add_weight(
            name=name,
            shape=shape,
            dtype=dtype,
            initializer=initializer,
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
        )

    def sums(self, inputs, training=False):
        return super().sums(self.code(inputs), training=training)

    def biased(self, products, training=False):
        sums = super().biased(products, training=training)
        if not self.scale:
            return sums
        return self.by_sign(lambda: self._scaled(sums), lambda: sums)

    def code(self, inputs):
        """The inputs as the product takes them."""
        inputs = ops.cast(inputs, self.compute_dtype)
        if self.inputs == "bipolar":
            return coding.bipolar(inputs)
        if self.inputs == "zero_one":
            return coding.zero_one(inputs)
        if self.inputs == "bits":
            return coding.bits(inputs, self.bits, axis=self.channel_axis)
        return self.by_sign(lambda: sign(inputs, self.surrogate), lambda: inputs)

    def effective_kernel(self, training=False):
        kernel = super().effective_kernel(training=training)
        kernel = self._staged_weights(kernel, self.mask, self.beta, training)
        return ops.cast(kernel, self.compute_dtype)

    def effective_bias(self, training=False):
        bias = super().effective_bias(training=training)
        if self.bitwise_bias:
            bias = self._staged_weights(bias, None, maths.KEEP_ALL, training)
        return ops.cast(bias, self.compute_dtype)

    def activate(self, sums):
        return (
            self.staged_units(sums) if self.is_bitwise_unit else super().activate(sums)
        )

    @property
    def is_bitwise_unit(self):
        """Whether the activation is `"bitwise"`."""
        return self.activation is bitwise

    @property
    def channel_axis(self):
        """The axis of the inputs that holds the features."""
        first = getattr(self, "data_format", "channels_last") == "channels_first"
        return 1 if first else -1

    @property
    def sparsity(self):
        """Fraction of zeros among the weights of stage 2, in `[0, 1]`."""
        ternary = self.ternary_kernel
        return float(ternary.size - np.count_nonzero(ternary)) / ternary.size

    @property
    def ternary_kernel(self):
        """The kernel of stage 2, `M * sign(W)`: int8 array of -1, 0 and +1."""
        self.check_built()
        ternary = ops.convert_to_numpy(self._if_sparse(self._ternary, signs))
        if np.isnan(ternary).any():
            found = f"NaN in {self.name!r}: its training diverged"
            raise invalid("kernel", "of numbers, which have signs", found)
        return ternary.astype("int8")

    def unit_scale(self):
        """`alpha` of each unit, which scales its sums in stage 2 if `scale` is set."""
        scale = self._if_sparse(
            lambda ghosts: maths.unit_scale(ghosts, self._ternary(ghosts)),
            maths.unit_scale,
        )
        return ops.cast(scale, self.compute_dtype)

    def compress(self):
        """Enters stage 1: the weights are `tanh(W)`, with `W` now `atanh(W)` of before.

        So the layer goes on from the weights it has, as far as they are in (-1, 1). A
        layer that is there already, or further, is left as it is.
        """
        self.check_built()
        if self.stage_number >= TANH:
            return
        for ghosts in (self.kernel, self.bias if self.bitwise_bias else None):
            if ghosts is not None:
                ghosts.assign(maths.ghosts_of(ops.convert_to_numpy(ghosts)))
        self.stage.assign(TANH)

    def binarize(self, sparsity=0.0, *, rate=1.0):
        """Enters stage 2: the weights are `M * sign(W)`.

        Args:
            sparsity: Fraction of weights that `M` drops, in `[0, 1]`: the smallest
                ones, and those that `mask` drops. `M` follows the weights as they
                train, by `|W| > beta`; call this again to fix `beta` anew.
            rate: Fraction of weights that are bits in training, drawn anew in each
                step, in `[0, 1]`. The others are `tanh(W)` yet.

        Raises:
            ValueError: If the layer is not built, or an argument is out of range.

        Reference:
            - [Kim & Smaragdis, 2015](https://arxiv.org/abs/1601.06071), section 3.2
            - `rate`: [Kim, Maity & Kim, 2019](https://arxiv.org/abs/1908.08898)
        """
        self.check_built()
        rate = check_real("rate", rate, minimum=0.0, maximum=1.0)
        mask = None if self.mask is None else ops.convert_to_numpy(self.mask)
        beta = maths.beta_for(ops.convert_to_numpy(self.kernel), sparsity, mask)
        self.beta.assign(beta)
        self.rate.assign(rate)
        self.stage.assign(SIGN)

    def save_own_variables(self, store):
        super().save_own_variables(store)
        # Keras does not save it; with it, a resumed fit draws what it would have drawn.
        store["seed"] = ops.convert_to_numpy(self.seed_generator.state)

    def load_own_variables(self, store):
        store = {name: store[name] for name in store.keys()}
        self.seed_generator.state.assign(store.pop("seed"))
        super().load_own_variables(store)

    def coded_shape(self, input_shape):
        """The shape of the inputs behind their coding."""
        if self.inputs != "bits" or input_shape[self.channel_axis] is None:
            return input_shape
        shape = list(input_shape)
        shape[self.channel_axis] *= self.bits
        return tuple(shape)

    def get_config(self):
        config = super().get_config()
        if self.is_bitwise_unit:
            config["activation"] = "bitwise"
        return {
            **config,
            "inputs": self.inputs,
            "bits": self.bits,
            "gradient": self.gradient,
            "straight_through": self.straight_through,
            "scale": self.scale,
            "bitwise_bias": self.bitwise_bias,
            "masked": self.masked,
        }

    def _staged_weights(self, ghosts, mask, beta, training):
        ghosts, beta = read(ghosts), read(beta)
        sparse = ops.cast(beta >= 0.0, "int32")
        branches = (
            lambda: _masked(ghosts, mask),
            lambda: _masked(maths.compress(ghosts), mask),
            lambda: maths.binary_weights(ghosts, self.gradient, mask),
            lambda: maths.ternary_weights(ghosts, beta, self.gradient, mask),
        )
        stage = ops.convert_to_tensor(self.stage)
        is_sign = ops.equal(stage, SIGN)
        weights = ops.switch(stage + sparse * ops.cast(is_sign, "int32"), branches)
        if not training:
            return weights
        partly = ops.logical_and(is_sign, ops.convert_to_tensor(self.rate) < 1.0)
        return ops.cond(
            partly, lambda: self._partly(weights, ghosts, mask), lambda: weights
        )

    def _partly(self, weights, ghosts, mask):
        """A random share of these weights, the others compressed."""
        chance = keras.random.uniform(ops.shape(ghosts), seed=self.seed_generator)
        real = _masked(maths.compress(ghosts), mask)
        return ops.where(chance < self.rate, weights, real)

    def _if_sparse(self, sparse, full):
        """The result of the first function where weights are dropped, else the other's.

        Both get the ghosts of the kernel.
        """
        ghosts = ops.convert_to_tensor(self.kernel)
        if self.mask is not None:
            return sparse(ghosts)
        is_sparse = ops.convert_to_tensor(self.beta) >= 0.0
        return ops.cond(is_sparse, lambda: sparse(ghosts), lambda: full(ghosts))

    def _ternary(self, ghosts):
        # Without a beta, nothing is as small as to be dropped but by the mask.
        beta = ops.cast(read(self.beta), ghosts.dtype)
        kept = _masked(ops.cast(ops.abs(ghosts) > beta, ghosts.dtype), self.mask)
        return signs(ghosts) * kept

    def _scaled(self, sums):
        scale = self.unit_scale()
        if self.channel_axis == 1:
            scale = ops.reshape(scale, (1, -1, 1, 1))
        return sums * scale


def is_bitwise(layer):
    """Whether `layer` has weights that are signs in stage 2."""
    return isinstance(layer, BitwiseKernel)


def _activation(value):
    return bitwise if isinstance(value, str) and value == "bitwise" else value


def _masked(weights, mask):
    return weights if mask is None else masked(weights, mask)


def check_bool(name, value):
    """`value`, which must be a `bool`."""
    if not isinstance(value, bool):
        raise invalid(name, "True or False", value)
    return value
