"""`Binarization`: leads bitwise layers through their stages while the model trains."""

import math
import warnings

import numpy as np
from keras import ops

from keras_compress._copies import all_layers
from keras_compress._validation import check_int, check_real, invalid
from keras_compress.callbacks._progress import ProgressCallback
from keras_compress.layers._bitwise_kernel import is_bitwise
from keras_compress.layers._stages import FLOAT, SIGN, TANH, is_staged

# Without a frequency, beta is fixed anew each time this share of the fit has passed.
UPDATE_EVERY = 0.01


class Binarization(ProgressCallback):
    """Makes the bitwise layers of a model bitwise during `fit`, by progress.

    By default the first half of the fit is stage 1 (weights and units compressed by
    `tanh`), the second half stage 2 (signs, with noisy back-propagation); after it the
    layers are bitwise. The model is not compiled again: a stage is a variable.

    Progress is the fraction of the fit that is done, so a short fit gets as far as a
    long one. A layer never goes back: one that is in a later stage already, as in a
    model that was saved and loaded, stays there. A fit that ends before stage 2 warns.

    Adds to the logs of every epoch: `stage`; `flip_ratio`, the fraction of weights
    whose bit changed in the epoch, in `[0, 1]`; and `sparsity`, the fraction of zeros
    that stage 2 has among the weights.

    Args:
        compress_at: Progress in `[0, 1]` at which stage 1 begins. Before it, the
            network trains with real weights.
        binarize_at: Progress in `[0, 1)`, not before `compress_at`, at which stage 2
            begins.
        sparsity: Fraction of weights dropped in stage 2, in `[0, 1]`. At every update,
            those with `|W| <= beta` are.
        frequency: Positive integer, the number of optimizer updates between two
            estimates of `beta`. Defaults to about 100 over the fit. There is always
            one at its end, so that the sparsity is met.
        random_until: Progress in `(binarize_at, 1]` at which the last weight becomes a
            bit. From `binarize_at` to it, a random share of the weights is bits, other
            ones in each step, that grows from 1 / `increments` to 1. Defaults to all
            at once.
        increments: Integer >= 2, in how many equal parts that share grows.

    Raises:
        ValueError: If an argument is out of range; in `fit`, if the model has no
            bitwise layers, or the optimizer does not count its iterations.

    Example:

    >>> model = keras.Sequential([keras.Input((8,)), kc.layers.BitwiseDense(4)])
    >>> model.compile("adam", "mse")
    >>> history = model.fit(
    ...     np.ones((64, 8)), np.ones((64, 4)), epochs=4, verbose=0,
    ...     callbacks=[Binarization()],
    ... )
    >>> history.history["stage"]
    [1, 2, 2, 2]

    Reference:
        - [Kim & Smaragdis, 2015](https://arxiv.org/abs/1601.06071), section 3
        - `random_until`: [Kim, Maity & Kim, 2019](https://arxiv.org/abs/1908.08898)
    """

    def __init__(
        self,
        *,
        compress_at=0.0,
        binarize_at=0.5,
        sparsity=0.0,
        frequency=None,
        random_until=None,
        increments=10,
    ):
        super().__init__()
        self.compress_at = check_real(
            "compress_at", compress_at, minimum=0.0, maximum=1.0
        )
        self.binarize_at = check_real(
            "binarize_at", binarize_at, minimum=0.0, maximum=1.0
        )
        if not compress_at <= binarize_at < 1.0:
            expected = f"in [compress_at, 1), here [{compress_at:g}, 1)"
            raise invalid("binarize_at", expected, binarize_at)
        self.sparsity = check_real("sparsity", sparsity, minimum=0.0, maximum=1.0)
        if frequency is not None:
            check_int("frequency", frequency, minimum=1)
        self.frequency = frequency
        if random_until is not None:
            check_real("random_until", random_until)
            if not binarize_at < random_until <= 1.0:
                expected = f"None or in (binarize_at, 1], here ({binarize_at:g}, 1]"
                raise invalid("random_until", expected, random_until)
        self.random_until = random_until
        self.increments = check_int("increments", increments, minimum=2)

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self._layers = [layer for layer in all_layers(self.model) if is_staged(layer)]
        self._weighted = [layer for layer in self._layers if is_bitwise(layer)]
        if not self._weighted:
            raise ValueError(
                f"Binarization found no bitwise layers in {self.model.name!r}. Swap "
                "some first: keras_compress.swap(model, keras_compress.Bitwise())"
            )
        if getattr(self.model.optimizer, "iterations", None) is None:
            raise ValueError(
                "Binarization needs an optimizer that counts its `iterations`. "
                f"Received: {type(self.model.optimizer).__name__}"
            )
        self._last = None
        self._rate = None
        self._bits = None

    def on_progress(self, progress):
        if progress >= self.binarize_at:
            self._binarize(progress)
        elif progress >= self.compress_at:
            for layer in self._layers:
                if layer.stage_number == FLOAT:
                    layer.compress()
        if self._bits is None:  # now the weights are what this fit starts from
            self._bits = self._packed_bits()

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        before, self._bits = self._bits, self._packed_bits()
        if logs is not None:
            sizes = [math.prod(layer.kernel.shape) for layer in self._weighted]
            size, zeros = (
                sum(sizes),
                sum(
                    size - _ones(bits)
                    for size, bits in zip(sizes, self._bits, strict=True)
                ),
            )
            logs["stage"] = min(layer.stage_number for layer in self._layers)
            logs["flip_ratio"] = _changes(before, self._bits) / size
            logs["sparsity"] = zeros / size

    def on_train_end(self, logs=None):
        behind = [x.name for x in self._layers if x.stage_number < SIGN]
        if behind:
            warnings.warn(
                f"The fit ended at {self.progress:.0%} of its progress, before stage 2 "
                f"begins at {self.binarize_at:.0%}: not bitwise yet are "
                f"{', '.join(behind)}. Fit on with `initial_epoch`, or call `binarize` "
                "of the layers.",
                stacklevel=2,
            )

    def _binarize(self, progress):
        entering = [x for x in self._layers if x.stage_number < SIGN]
        for layer in entering:
            if not is_bitwise(layer):
                layer.binarize()
        rate = self._share(progress)
        if self._is_due(progress) or rate != self._rate:
            for layer in self._weighted:
                if layer.stage_number < TANH:
                    layer.compress()
                layer.binarize(self.sparsity, rate=rate)
            self._rate = rate
            self._last = (progress, self._step())

    def _share(self, progress):
        """The share of weights that are bits at this progress."""
        if self.random_until is None or progress >= self.random_until:
            return 1.0
        done = (progress - self.binarize_at) / (self.random_until - self.binarize_at)
        return (int(done * self.increments) + 1) / self.increments

    def _is_due(self, progress):
        if self._last is None:
            return True
        last_progress, last_step = self._last
        if last_progress < 1.0 <= progress:
            return True
        if self.frequency is not None:
            return self._step() - last_step >= self.frequency
        return last_progress + UPDATE_EVERY <= progress

    def _packed_bits(self):
        """Two bits a weight, packed: whether it is positive, and whether negative."""
        kernels = [layer.ternary_kernel for layer in self._weighted]
        return [np.packbits([kernel > 0, kernel < 0]) for kernel in kernels]

    def _step(self):
        # Of a LossScaleOptimizer, it is the inner one that counts.
        optimizer = self.model.optimizer
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        return int(ops.convert_to_numpy(optimizer.iterations))


def _ones(bits):
    """How many weights are not zero, in a result of `_packed_bits`."""
    return int(np.unpackbits(bits).sum())


def _changes(before, after):
    """How many weights differ between two results of `_packed_bits`."""
    total = 0
    for old, new in zip(before, after, strict=True):
        positive, negative = np.array_split(np.unpackbits(old ^ new), 2)
        total += int(np.count_nonzero(positive | negative))
    return total
