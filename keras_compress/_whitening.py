"""Whitened SVD through a whole model: layer by layer, each on what reaches it."""

import numpy as np
from keras import ops

from keras_compress._activations import batches, check_data, layer_inputs, rows_of
from keras_compress._rebuild import rebuild, walk
from keras_compress.functional.low_rank import DataAware
from keras_compress.layers._fitted import AsItIs, Fitted, kernel_of

# Up to half a gigabyte, what all layers got in training is kept from one pass.
KEPT_NUMBERS = 1 << 27


def whiten(model, chosen, data):
    """Fits factors to what each layer gets once the layers before it have theirs.

    Args:
        model: A model that passed `check_model`. It is left as it is.
        chosen: List of pairs, a layer of it and its `LowRank`.
        data: Calibration inputs, one array for each input of the model.

    Returns:
        Mapping from the ids of layers to configs that put the factors in.

    Raises:
        ValueError: If `data` does not fit, or a layer's inputs cannot be seen.

    Reference:
        - [Zhang et al., 2016](https://arxiv.org/abs/1505.06798), section 3.3: the
          asymmetric reconstruction.
    """
    arrays = check_data("data", model, data)
    approximated = rebuild(model, lambda layer: None)
    twin = {
        id(layer): copy
        for (_, layer), (_, copy) in zip(walk(model), walk(approximated), strict=True)
    }
    configs = {id(layer): (layer, config) for layer, config in chosen}
    first = next(batches(model, arrays, size=1))
    order = layer_inputs(model, [layer for layer, _ in chosen], first)
    size = len(arrays[0]) * sum(x.size for calls in order.values() for x in calls)
    kept = None
    if size <= KEPT_NUMBERS:
        layers = [layer for layer, _ in chosen]
        kept = [layer_inputs(model, layers, x) for x in batches(model, arrays)]
    found = {}
    for key in order:
        layer, config = configs[key]
        moments = Moments(layer.bias is not None)
        for number, inputs in enumerate(batches(model, arrays)):
            if kept is None:
                meant = layer_inputs(model, [layer], inputs)[key]
            else:
                meant = kept[number][key]
            copy = twin[key]
            got = layer_inputs(approximated, [copy], inputs)[id(copy)]
            for one, other in zip(meant, got, strict=True):
                moments.add(rows_of(layer, other), rows_of(layer, one))
        found[key] = _fit(layer, config, moments, twin[key])
    return found


def _fit(layer, config, moments, copy):
    """The config of one layer; its twin gets the same outputs as the new one will."""
    kernel = kernel_of(layer)
    matrix = kernel.reshape(-1, kernel.shape[-1])
    aware = DataAware(matrix, moments.second, moments.cross)
    rank = config.matrix_rank(matrix.shape, lambda: aware.values)
    kept = config.does_not_pay(layer, rank)
    if kept is not None:
        return AsItIs(kept)
    left, right = aware.factors(rank)
    shift = moments.meant_mean @ matrix - moments.mean @ left @ right
    set_kernel(copy, (left @ right).reshape(kernel.shape))
    if copy.bias is not None:
        copy.bias.assign_add(ops.cast(shift, copy.bias.dtype))
    return Fitted(config, rank, left, right, shift)


def set_kernel(layer, kernel):
    """Gives a layer a kernel, or the factors that are nearest to it."""
    if hasattr(layer, "factorize"):
        layer.factorize(kernel)
    else:
        layer.kernel.assign(kernel)


class Moments:
    """Second moments of a layer's inputs, added up batch by batch.

    Args:
        centred: Whether the mean is taken off, as a bias can make up for it.
    """

    def __init__(self, centred):
        self._centred = centred
        self._rows = 0
        self._sums = None

    def add(self, inputs, meant):
        """Adds rows of inputs, and of what they were when the layer was trained."""
        inputs, meant = inputs.astype("float32"), meant.astype("float32")
        parts = (inputs.T @ inputs, inputs.T @ meant, inputs.sum(0), meant.sum(0))
        if self._sums is None:
            self._sums = [part.astype("float64") for part in parts]
        else:
            for total, part in zip(self._sums, parts, strict=True):
                total += part
        self._rows += len(inputs)

    @property
    def mean(self):
        """Mean of the inputs, or zeros if it is left in."""
        return self._sums[2] / self._rows * self._centred

    @property
    def meant_mean(self):
        """Mean of the inputs in training, or zeros if it is left in."""
        return self._sums[3] / self._rows * self._centred

    @property
    def second(self):
        """`E[z z']`."""
        return self._sums[0] / self._rows - np.outer(self.mean, self.mean)

    @property
    def cross(self):
        """`E[z x']`."""
        return self._sums[1] / self._rows - np.outer(self.mean, self.meant_mean)
