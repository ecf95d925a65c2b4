"""What flows through the layers of a model: samples of it, and its range."""

import contextlib
import dataclasses

import keras
import numpy as np
from keras import ops

from keras_compress._validation import invalid
from keras_compress._watched import watched
from keras_compress.layers._fixed_point_kernel import is_fixed_point
from keras_compress.layers.pruned import is_pruned
from keras_compress.report.model_inputs import batches_of, fitted
from keras_compress.report.recorder import variables_restored

KINDS = ("kernel", "bias", "inputs", "pre_activations", "outputs")
BATCH = 64
# Of each batch; enough for a histogram, few enough for hours of data.
MOST_OF_A_BATCH = 16_384
MOST = 1 << 20


@dataclasses.dataclass
class Sample:
    """Numbers of one kind in one layer: some of them, and the range of all."""

    low: float = float("inf")
    high: float = -float("inf")
    count: int = 0
    parts: list = dataclasses.field(default_factory=list)

    def add(self, array, most=MOST_OF_A_BATCH):
        """Takes numbers in, of many only so many, spread evenly."""
        array = np.asarray(array, np.float32).ravel()
        if not array.size:
            return
        self.low = min(self.low, float(array.min()))
        self.high = max(self.high, float(array.max()))
        self.count += array.size
        self.parts.append(array[:: -(-array.size // most)])

    @property
    def numbers(self):
        """The sample as one array."""
        numbers = np.concatenate(self.parts) if self.parts else np.zeros(0, "float32")
        return numbers[:: max(1, -(-numbers.size // MOST))]

    @property
    def largest(self):
        """The largest absolute value of all."""
        return max(abs(self.low), abs(self.high))


def sample_layers(model, layers, data):
    """Runs data through a model and takes samples at some of its layers.

    Args:
        model: A built Keras model. It is left as it is.
        layers: `Dense` and `Conv2D` layers of it, or compressed ones of ours.
        data: Structure of arrays shaped like the model's inputs.

    Returns:
        List of mappings from `KINDS` to a `Sample`, one for each layer.

    Raises:
        ValueError: If the data are empty, not finite, or do not fit.
    """
    data = fitted(model, data, "calibration_data")
    for array in keras.tree.flatten(data):
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise invalid("calibration_data", "finite numbers", "NaN or infinite ones")
    found = [{kind: Sample() for kind in KINDS} for _ in layers]
    for layer, sample in zip(layers, found, strict=True):
        sample["kernel"].add(masked_kernel(layer), MOST)
        if layer.bias is not None:
            sample["bias"].add(ops.convert_to_numpy(layer.bias), MOST)
    by_layer = {id(layer): sample for layer, sample in zip(layers, found, strict=True)}

    def watch(layer, call, args, kwargs):
        sample = by_layer[id(layer)]
        inputs = args[0] if args else kwargs["inputs"]
        activation = layer.activation
        # Past Keras's tracking, as the wrapper of `call` is.
        layer.__dict__["activation"] = None
        try:
            sums = call(*args, **kwargs)
        finally:
            layer.__dict__["activation"] = activation
        outputs = sums if activation is None else activation(sums)
        for kind, value in zip(KINDS[2:], (inputs, sums, outputs), strict=True):
            sample[kind].add(ops.convert_to_numpy(ops.cast(value, "float32")))
        return outputs

    with contextlib.ExitStack() as stack:
        stack.enter_context(variables_restored(model))
        for layer in layers:
            if is_fixed_point(layer):
                # Old formats would cut off what new ones are chosen for.
                layer.set_noise("float")
            stack.enter_context(watched(layer, watch))
        for batch in batches_of(data, BATCH):
            model(keras.tree.map_structure(ops.convert_to_tensor, batch))
    return found


def masked_kernel(layer):
    """The weights of a layer as float64, zeros where a mask hides them."""
    kernel = ops.convert_to_numpy(layer.kernel).astype("float64")
    return np.where(_mask(layer), kernel, 0.0)


def kept_weights(layer, unit=None):
    """The weights that no mask hides, of all units or of one; a zero if there are none.

    Args:
        layer: As of `sample_layers`.
        unit: Integer or `None`.

    Returns:
        Float64 array of one axis.
    """
    kernel, mask = masked_kernel(layer), _mask(layer)
    if unit is not None:
        kernel, mask = kernel[..., unit], mask[..., unit]
    kept = kernel[mask]
    return kept if kept.size else np.zeros(1)


def _mask(layer):
    if is_pruned(layer):
        return ops.convert_to_numpy(layer.mask)
    return np.ones(layer.kernel.shape, bool)
