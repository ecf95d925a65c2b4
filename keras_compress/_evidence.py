"""What data say about the weights of pruned layers: gradients, moments of inputs."""

import functools

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_compress._activations import (
    batches,
    check_data,
    layer_inputs,
    rows_in_groups,
)
from keras_compress._validation import invalid

BATCH = 128


class Evidence:
    """What is known about some layers of a model, found when it is first asked for.

    Everything is found for all layers in one pass over the data, so that pruning one
    of them does not change what is known about the next.

    Args:
        model: A built Keras model. It is left as it is.
        layers: Pruned layers of it.
        data: Inputs, one array for each input of the model, or a `tf.data.Dataset` of
            batches of inputs, or of inputs and targets; or `None`.
        targets: Targets for `data`, if these are arrays.
        loss: What `keras.losses.get` takes. Defaults to the compiled one.
    """

    def __init__(self, model, layers, data=None, targets=None, loss=None):
        self.model, self.layers = model, layers
        self.data, self.targets, self.loss = data, targets, loss
        self.kernels = [_array(layer.kernel) for layer in layers]
        self.masks = [ops.convert_to_numpy(layer.mask) for layer in layers]

    def of_layers(self):
        """A `LayerEvidence` for each of the layers."""
        return [LayerEvidence(self, number) for number in range(len(self.layers))]

    def find_moments(self):
        """Looks at the inputs now, before anything changes."""
        return self.moments

    @functools.cached_property
    def gradients(self):
        """Of the mean loss, by the kernels: list of arrays."""
        kernels = [layer.kernel.value for layer in self.layers]
        sums, count = [0.0] * len(kernels), 0
        metrics = [(v, v.numpy()) for v in self.model.metrics_variables]
        for inputs, targets, weights in self._batches():
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(kernels)
                loss = self._loss(inputs, targets, weights)
            size = len(keras.tree.flatten(inputs)[0])
            count += size
            for number, found in enumerate(tape.gradient(loss, kernels)):
                if found is None:
                    name = self.layers[number].name
                    raise ValueError(f"The loss does not depend on layer {name!r}.")
                sums[number] += size * _array(found)
        for variable, value in metrics:
            variable.assign(value)
        return [total / count for total in sums]

    @functools.cached_property
    def squares(self):
        """Mean squares of the inputs: list of arrays `(groups, inputs)`."""
        return self._means(lambda rows: (np.square(rows).sum(axis=1),))[0]

    @functools.cached_property
    def moments(self):
        """Of the inputs: lists of means and of second moments `(groups, ..., inputs)`.

        Those of a layer with a bias are about the mean, for which its bias makes up.
        """
        means, seconds = self._means(
            lambda rows: (rows.sum(axis=1), rows.transpose(0, 2, 1) @ rows)
        )
        for number, layer in enumerate(self.layers):
            if layer.bias is None:
                means[number] = np.zeros_like(means[number])
            mean = means[number]
            seconds[number] = seconds[number] - mean[:, :, None] * mean[:, None, :]
        return means, seconds

    def _means(self, sums_of):
        """What `sums_of` makes of each layer's rows, added up, over their number."""
        totals, counts = {}, {}
        for inputs, *_ in self._batches():
            found = layer_inputs(self.model, self.layers, inputs)
            for layer in self.layers:
                for array in found[id(layer)]:
                    array = array.astype("float32", copy=False)
                    rows = rows_in_groups(layer, array, layer.matrix_groups)
                    parts = [x.astype("float64") for x in sums_of(rows)]
                    before = totals.get(id(layer))
                    if before is not None:
                        parts = [a + b for a, b in zip(before, parts, strict=True)]
                    totals[id(layer)] = parts
                    counts[id(layer)] = counts.get(id(layer), 0) + rows.shape[1]
        means = [[x / counts[id(y)] for x in totals[id(y)]] for y in self.layers]
        return [list(kind) for kind in zip(*means, strict=True)]

    def _batches(self):
        """Yields inputs, targets and sample weights, the latter two perhaps `None`."""
        if isinstance(self.data, tf.data.Dataset):
            if self.targets is not None:
                expected = "None with a dataset, which holds them"
                raise invalid("targets", expected, type(self.targets))
            if self.data.cardinality() == tf.data.INFINITE_CARDINALITY:
                raise invalid("data", "a dataset that ends", self.data)
            empty = True
            for element in self.data:
                empty = False
                yield keras.utils.unpack_x_y_sample_weight(element)
            if empty:
                raise invalid("data", "a dataset of a batch or more", self.data)
            return
        arrays = check_data("data", self.model, self.data)
        # A structure of none if there are no targets.
        targets = [] if self.targets is None else self.targets
        targets = keras.tree.map_structure(np.asarray, targets)
        for array in keras.tree.flatten(targets):
            if np.shape(array)[:1] != arrays[0].shape[:1]:
                expected = f"as many as `data`, {len(arrays[0])}"
                raise invalid("targets", expected, np.shape(array))
        starts = range(0, len(arrays[0]), BATCH)
        inputs = batches(self.model, arrays, BATCH)
        for start, batch in zip(starts, inputs, strict=True):
            wanted = keras.tree.map_structure(
                lambda array, start=start: array[start : start + BATCH], targets
            )
            yield batch, wanted, None

    def _loss(self, inputs, targets, weights):
        """The mean loss of a batch, as in inference, without regularization."""
        if targets is None or not keras.tree.flatten(targets):
            raise invalid("targets", "given, for a gradient of the loss", None)
        outputs = self.model(inputs, training=False)
        if self.loss is not None:
            return ops.mean(keras.losses.get(self.loss)(targets, outputs))
        if not self.model.compiled:
            raise invalid("loss", "given, where the model is not compiled", None)
        loss = self.model.compute_loss(
            inputs, targets, outputs, sample_weight=weights, training=False
        )
        return loss - sum(self.model.losses)


class LayerEvidence:
    """What is known about one layer: what a criterion of one's own may look at.

    Attributes:
        layer: The pruned layer.
        kernel: Its kernel, with what is behind the mask.
        mask: Boolean array of the kernel's shape, `False` where a weight is out.
        pattern: The layer's pattern.
        gradient: Array of the kernel's shape, of the mean loss over the data.
        input_norms: Array of the kernel's shape: the root mean square of the input
            that each weight is multiplied with.
    """

    def __init__(self, evidence, number):
        self._evidence, self._number = evidence, number
        self.layer = evidence.layers[number]
        self.kernel = evidence.kernels[number]
        self.mask = evidence.masks[number]
        self.pattern = self.layer.pattern

    @property
    def gradient(self):
        return self._evidence.gradients[self._number]

    @property
    def input_norms(self):
        norms = np.sqrt(self._evidence.squares[self._number]).T  # (inputs, groups)
        each = norms.repeat(self.layer.matrix_shape[1] // norms.shape[1], axis=1)
        return each.reshape(self.kernel.shape)

    def by_group(self, function, *arrays):
        """Applies a function to the parts of a kernel that read the same inputs.

        Args:
            function: Of matrices `(inputs, outputs of a group)`, the second moments of
                their inputs, and the means of these; to a matrix, or a row of it.
            *arrays: Arrays of the kernel's shape.

        Returns:
            What it makes of all groups, in the kernel's shape; or the rows as one.
        """
        means, seconds = (kind[self._number] for kind in self._evidence.moments)
        shape = (self.layer.matrix_shape[0], len(means), -1)
        parts = [array.reshape(shape).transpose(1, 0, 2) for array in arrays]
        found = [
            function(*given, second, mean)
            for *given, second, mean in zip(*parts, seconds, means, strict=True)
        ]
        whole = np.concatenate(found, axis=-1)
        return whole if whole.ndim == 1 else whole.reshape(self.kernel.shape)


def _array(tensor):
    return ops.convert_to_numpy(tensor).astype("float32", copy=False)
