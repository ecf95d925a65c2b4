"""`QuantizationNoise`: leads fixed-point layers from floats to their formats."""

import math
import warnings

import numpy as np
from keras import ops

from keras_compress._copies import all_layers
from keras_compress._validation import check_choice, check_int, check_real, invalid
from keras_compress.callbacks._progress import ProgressCallback
from keras_compress.layers._fixed_point_kernel import is_fixed_point

KINDS = ("rounding", "partial", "uniform")


class QuantizationNoise(ProgressCallback):
    """Quantizes the fixed-point layers of a model during `fit`, by progress.

    Before `start` the network trains as a float one; from `end` on every value is in
    its format. Between the two, the noise of quantization grows:

    - with `extra_bits`, formats have that many fraction bits more at `start`, and lose
      them one by one
    - with `kind="partial"`, a random part of the kernels is quantized, other ones in
      each step: `rate` of them, or, where that is a pair, from the first to the second
    - with `kind="uniform"`, kernels get uniform noise of half a step

    By default `start` is 0 and `end` is 0: all is quantized from the first step on,
    which is plain straight-through training. The model is not compiled again: how
    values are quantized is a variable, which is saved with the model. A fit that ends
    before `end` warns, and so does one at whose end weights were restored that bring an
    earlier state back, as `EarlyStopping(restore_best_weights=True)` does: put this
    callback behind that one, for what comes later is not seen, and give that one a
    `start_from_epoch` behind `end`.

    Adds `extra_bits` and `quantized` (the part of the kernels that is quantized in
    training, in `[0, 1]`) to the logs of every epoch.

    Args:
        start: Progress in `[0, 1]` at which quantization begins.
        end: Progress in `[start, 1]` from which on all values are in their formats.
            Defaults to `start`, and with a noise of its own to 1.
        kind: `"rounding"`, `"partial"` or `"uniform"`: what is done to kernels
            between `start` and `end`. All other values are rounded.
        rate: Number in `[0, 1]`, or a pair of them, with `kind="partial"`.
        extra_bits: Integer in `[0, 32]`.

    Raises:
        ValueError: If an argument is out of range; in `fit`, if the model has no
            fixed-point layers.

    Example:

    >>> config = kc.FixedPoint(kernel=kc.QFormat(1, 3))
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> small = kc.swap(model, config)
    >>> small.compile("adam", "mse")
    >>> history = small.fit(
    ...     np.ones((64, 8)), np.ones((64, 4)), epochs=4, verbose=0,
    ...     callbacks=[QuantizationNoise(start=0.25, end=1.0, extra_bits=2)],
    ... )
    >>> history.history["extra_bits"]
    [2, 2, 1, 0]

    Reference:
        - `kind="partial"`: [Fan et al., 2020](https://arxiv.org/abs/2004.07320)
        - `kind="uniform"`: [Défossez et al., 2021](https://arxiv.org/abs/2104.09987)
    """

    def __init__(self, *, start=0.0, end=None, kind="rounding", rate=0.5, extra_bits=0):
        super().__init__()
        self.start = check_real("start", start, minimum=0.0, maximum=1.0)
        self.kind = check_choice("kind", kind, KINDS)
        self.extra_bits = check_int("extra_bits", extra_bits, minimum=0, maximum=32)
        self.rate = _pair_of_rates(rate)
        if end is None:
            end = 1.0 if kind != "rounding" or extra_bits else start
        self.end = check_real("end", end, minimum=0.0, maximum=1.0)
        if end < start:
            raise invalid("end", f"in [start, 1], here [{start:g}, 1]", end)

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self._layers = [x for x in all_layers(self.model) if is_fixed_point(x)]
        if not self._layers:
            raise ValueError(
                f"QuantizationNoise found no fixed-point layers in "
                f"{self.model.name!r}. Swap some first: keras_compress.swap(model, "
                "keras_compress.FixedPoint(kernel=keras_compress.QFormat(1, 6)))"
            )
        self._state = None

    def on_progress(self, progress):
        state = self._state_at(progress)
        if state != self._state:
            self._state = state
            noise, rate, extra_bits = state
            for layer in self._layers:
                layer.set_noise(noise, rate=rate, extra_bits=extra_bits)

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        if logs is not None:
            noise, rate, extra_bits = self._state
            logs["extra_bits"] = extra_bits
            logs["quantized"] = {"float": 0.0, "partial": rate}.get(noise, 1.0)

    def on_train_end(self, logs=None):
        if self.progress < self.end:
            warnings.warn(
                f"The fit ended at {self.progress:.0%} of its progress, before "
                f"quantization is full at {self.end:.0%}. Fit on with `initial_epoch`, "
                "or call `set_noise` of the layers.",
                stacklevel=2,
            )
        elif changed := [x.name for x in self._layers if not self._is_set(x)]:
            warnings.warn(
                f"Not quantized as they were last: {', '.join(changed)}. Weights of an "
                "earlier time were restored, and with them how values are quantized. "
                "Let EarlyStopping start from an epoch behind `end`, or call "
                "`set_noise` of the layers.",
                stacklevel=2,
            )

    def _is_set(self, layer):
        """Whether a layer still quantizes as it was told to last."""
        if self._state is None:  # a fit of no epochs
            return True
        noise, rate, extra_bits = self._state
        found = [float(ops.convert_to_numpy(x)) for x in (layer.rate, layer.finer)]
        wanted = [float(np.float32(rate)), 2.0**extra_bits]
        return layer.noise_name == noise and found == wanted

    def _state_at(self, progress):
        """What `set_noise` gets at this progress."""
        if progress >= self.end:
            return "rounding", 1.0, 0
        if progress < self.start:
            return "float", 1.0, 0
        done = (progress - self.start) / (self.end - self.start)
        # As many steps down as there are bits, all of them alike; the last is `end`.
        extra = self.extra_bits - math.floor(done * self.extra_bits)
        first, last = self.rate
        # In steps of a hundredth, not to assign variables after every batch.
        rate = first + (last - first) * math.floor(100 * done) / 100
        return self.kind, rate, extra


def _pair_of_rates(rate):
    pair = rate if isinstance(rate, list | tuple) else (rate, rate)
    if len(pair) != 2:
        raise invalid("rate", "a number in [0, 1] or a pair of them", rate)
    return tuple(check_real("rate", one, minimum=0.0, maximum=1.0) for one in pair)
