"""`choose_formats`: fixed-point formats for a model, from its weights and from data."""

import glob

import keras
import numpy as np
from keras import ops

from keras_compress._matching import matching
from keras_compress._neighbours import Neighbours
from keras_compress._rebuild import check_model, rebuild, walk
from keras_compress._validation import check_choice, check_int, invalid
from keras_compress.analysis.formats import Formats
from keras_compress.analysis.samples import (
    KINDS,
    kept_weights,
    masked_kernel,
    sample_layers,
)
from keras_compress.analysis.sums import fit_sums
from keras_compress.functional.calibration import (
    METHODS,
    fitting_format,
    spread_bits,
)
from keras_compress.functional.q_format import QFormat
from keras_compress.layers._fixed_point_kernel import is_fixed_point
from keras_compress.layers.fixed_point import FixedPoint
from keras_compress.report.model_inputs import batches_of, fitted

FEWEST = 2
SPREADS = ("even", "loss")
# Examples on which bits are weighed against each other.
COMPARED = 256


def choose_formats(
    model,
    calibration_data,
    bits=8,
    *,
    activation_bits=None,
    where=None,
    kinds=("kernel", "bias", "inputs", "outputs"),
    method="range",
    percentile=99.9,
    per_channel=False,
    unsigned=True,
    spread="even",
    max_bytes=None,
):
    """Chooses a fixed-point format for every value of a model, from its data.

    The integer bits of a format come from the numbers seen, the fraction bits are the
    rest. `keras_compress.swap(model, choose_formats(model, data))` is a whole
    post-training quantization: no training, no labels.

    Biases get the precision of the accumulator, which costs nothing: as many fraction
    bits as kernel and inputs have together. Where sums of that precision would need
    more than the 32 bits that packed layers have, the kernel, or that channel, gets
    fewer. The outputs of the model's last layers stay floats. Fold batch normalisations
    into the layers before them first, by `keras_compress.fold_batch_normalization`.

    Args:
        model: A built Sequential or Functional model, trained. It is left as it is.
        calibration_data: Array of inputs, or a structure of arrays as the model takes
            them; some hundred examples do.
        bits: Integer in `[2, 16]`, of a weight, the sign among them; with
            `spread="loss"` their mean over all weights.
        activation_bits: Integer in `[2, 16]`, of inputs, sums and outputs; without a
            sign 15 at most, as packed. Defaults to `bits`, and to 8 where weights have
            bits of their own.
        where: As of `swap`: which layers.
        kinds: Which values get formats, of `"kernel"`, `"bias"`, `"inputs"`,
            `"pre_activations"` and `"outputs"`.
        method: `"range"`: no number seen overflows. `"percentile"`: that share of the
            numbers does not. `"least_squares"`: the squared error is least.
        percentile: Number in (0, 100].
        per_channel: Whether each output of a kernel gets a format of its own.
        unsigned: Whether inputs and outputs that are never negative need no sign, and
            so gain a bit.
        spread: `"even"`: all layers get as many bits. `"loss"`: a bit goes where it
            lowers the error of the model's outputs most for what it costs.
        max_bytes: Integer >= 1: kernels may take so many bytes together, spread by
            loss, with at most 16 bits a weight. Then `bits` does not count.

    Returns:
        A mapping from layers to `keras_compress.FixedPoint`s, with a table and a plot
        of what was seen: `.to_markdown()`, `.plot(path)`.

    Raises:
        ValueError: If data are empty or not finite, nothing matches, the budget is too
            small, or an argument is out of range.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="fc")])
    >>> formats = choose_formats(model, np.eye(4, dtype="float32"), bits=6)
    >>> formats["fc"].kernel.bits
    6
    >>> type(keras_compress.swap(model, formats).layers[0]).__name__
    'FixedPointDense'

    Reference:
        - [Lin et al., 2016](https://arxiv.org/abs/1511.06393)
    """
    check_model("model", model)
    check_int("bits", bits, minimum=FEWEST, maximum=16)
    check_choice("method", method, METHODS)
    check_choice("spread", spread, SPREADS)
    if max_bytes is not None:
        check_int("max_bytes", max_bytes, minimum=1)
    unknown = set(kinds) - set(KINDS)
    if unknown or "kernel" not in kinds:
        raise invalid("kinds", f"of {KINDS}, the kernel among them", kinds)
    own = spread == "loss" or max_bytes is not None
    if activation_bits is None:
        activation_bits = 8 if own else bits
    check_int("activation_bits", activation_bits, minimum=FEWEST, maximum=16)
    matches = matching(model, FixedPoint(), where)
    layers = [layer for _, layer, _ in matches]
    samples = sample_layers(model, layers, calibration_data)
    fit = {"method": method, "percentile": percentile}

    def kernel_format(layer, count):
        return _kernel_format(layer, count, per_channel, fit)

    counts = [bits] * len(layers)
    if own:
        counts = _spread(
            model, layers, calibration_data, bits, max_bytes, kernel_format
        )
    neighbours = Neighbours(model)
    chosen = []
    for (path, layer, _), sample, count in zip(matches, samples, counts, strict=True):
        if not sample["inputs"].count:
            raise ValueError(
                f"Layer {path!r} was not reached by `calibration_data`, so there are "
                "no numbers to choose formats for. Leave it out, with `where`."
            )
        formats = {"kernel": kernel_format(layer, count)}
        for kind in ("inputs", "pre_activations", "outputs"):
            last = kind == "outputs" and neighbours.is_end(layer)
            if kind in kinds and not last:
                formats[kind] = _activation_format(
                    sample[kind], activation_bits, unsigned, fit
                )
        if "bias" in kinds and layer.bias is not None:
            formats["bias"] = fitting_format(
                sample["bias"].numbers, activation_bits + 8
            )
        if "inputs" in kinds:
            formats = _fit_sums(layer, formats)
        chosen.append((path, formats, sample))
    # A name matches inside other models, too: those are to be taken first.
    found = Formats()
    for path, formats, _ in sorted(chosen, key=lambda x: -x[0].count("/")):
        found[glob.escape(path)] = FixedPoint(**formats)
    for path, formats, sample in chosen:
        for kind in KINDS:
            if kind in formats:
                found.add(path, kind, formats[kind], sample[kind])
    return found


def _kernel_format(layer, bits, per_channel, fit):
    kernel = masked_kernel(layer)
    if not np.isfinite(kernel).all():
        raise ValueError(f"The kernel of layer {layer.name!r} must be finite.")
    if not per_channel:
        return fitting_format(kept_weights(layer), bits, **fit)
    columns = [kept_weights(layer, i) for i in range(kernel.shape[-1])]
    return QFormat.per_channel([fitting_format(x, bits, **fit) for x in columns])


def _activation_format(sample, bits, unsigned, fit):
    signed = not unsigned or sample.low < 0.0
    # Rows of integers are int16.
    bits = bits if signed else min(bits, 15)
    if not np.isfinite(sample.largest):
        raise invalid("calibration_data", "what gives finite numbers", "infinite ones")
    return fitting_format(
        sample.numbers, bits, signed=signed, largest=sample.largest, **fit
    )


def _fit_sums(layer, formats):
    bias = None
    if "bias" in formats:
        bias = ops.convert_to_numpy(layer.bias).astype("float64")
    return fit_sums(formats, masked_kernel(layer), bias, layer.activation)


def _spread(model, layers, data, bits, max_bytes, kernel_format):
    """Bits for each layer, by how the model's outputs change."""
    copy = rebuild(model, lambda layer: None)
    copies = {
        id(old): new for old, new in zip(_leaves(model), _leaves(copy), strict=True)
    }
    for layer in layers:
        if is_fixed_point(layer):
            # Else its old formats would round what new ones give.
            copies[id(layer)].set_noise("float")
    data = next(batches_of(fitted(model, data, "calibration_data"), COMPARED))
    data = keras.tree.map_structure(ops.convert_to_tensor, data)

    def outputs():
        found = keras.tree.flatten(copy(data))
        return [ops.convert_to_numpy(x).astype("float64") for x in found]

    exact = outputs()
    most = 16 if max_bytes is not None else min(16, 2 * bits)
    sizes = [int(np.prod(layer.kernel.shape)) for layer in layers]
    errors = []
    for layer in layers:
        kernel = copies[id(layer)].kernel
        before = ops.convert_to_numpy(kernel)
        errors.append({})
        for count in range(FEWEST, most + 1):
            kernel.assign(kernel_format(layer, count).quantize(before))
            errors[-1][count] = sum(
                float(np.sum(np.square(one - other)))
                for one, other in zip(outputs(), exact, strict=True)
            )
        kernel.assign(before)
    budget = 8 * max_bytes if max_bytes is not None else bits * sum(sizes)
    try:
        return spread_bits(errors, sizes, budget)
    except ValueError as error:
        raise invalid(
            "max_bytes", f"at least {-(-FEWEST * sum(sizes) // 8)}", max_bytes
        ) from error


def _leaves(model):
    return [layer for _, layer in walk(model)]
