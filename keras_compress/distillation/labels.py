"""Labels beside the outputs they belong to: which there are, and one-hot."""

import keras
from keras import ops

from keras_compress.distillation.outputs import spread


def is_sparse(labels, output, shape):
    """Whether labels are numbers of classes, not one-hot.

    Args:
        labels: Tensor of labels.
        output: The `Output` they belong to.
        shape: That of the student's output.
    """
    if output.family != "categorical":
        return False
    rank = len(labels.shape)
    return rank < len(shape) or (labels.shape[-1] == 1 and shape[-1] != 1)


def labelled(labels, output, shape):
    """Which positions have a label, and labels that a loss can take.

    No label is: a class of -1, a one-hot row without a positive number, a binary unit
    below 0. Plain values always count as labels.

    Args:
        labels: Tensor of labels.
        output: The `Output` they belong to.
        shape: That of the student's output.

    Returns:
        Boolean tensor without the axis of the classes, or `None` if all are labelled;
        and the labels, with 0 where there was none.
    """
    if output.family == "values" or labels.dtype in ("bool", "string"):
        return None, labels
    zeros = ops.zeros_like(labels)
    if output.family == "categorical" and not is_sparse(labels, output, shape):
        return ops.any(labels > zeros, axis=-1), ops.maximum(labels, zeros)
    known = labels >= zeros
    if len(labels.shape) == len(shape):
        known = ops.all(known, axis=-1)
    return known, ops.maximum(labels, zeros)


def targets(labels, output, shape):
    """Labels as float32 `(..., N)`: one-hot, zeros where there is no label.

    Args:
        labels: Tensor of labels.
        output: The `Output` they belong to.
        shape: That of the student's output.

    Returns:
        Tensor shaped like `output.logits` of the student's output.
    """
    if is_sparse(labels, output, shape):
        if len(labels.shape) == len(shape):
            labels = ops.squeeze(labels, axis=-1)
        return ops.one_hot(ops.cast(labels, "int32"), shape[-1], dtype="float32")
    labels = ops.cast(labels, "float32")
    if len(labels.shape) < len(shape):
        labels = ops.expand_dims(labels, axis=-1)
    if output.family == "categorical":
        return ops.maximum(labels, 0.0)
    if output.family == "binary":
        known = ops.cast(labels >= 0.0, "float32")
        return ops.stack([known * labels, known * (1.0 - labels)], axis=-1)
    return labels


def weights_of_labelled(weights, known):
    """Sample weights that are 0 where there is no label.

    Args:
        weights: Tensor of sample weights, or `None`.
        known: Boolean tensor of `labelled`, or `None`.

    Returns:
        Float32 tensor, or `None`.
    """
    if known is None:
        return weights
    known = ops.cast(known, "float32")
    return known if weights is None else known * aligned(weights, len(known.shape))


def aligned(weights, rank):
    """Sample weights `(batch, ...)` with as many axes as what they weigh."""
    weights = ops.cast(weights, "float32")
    while len(weights.shape) < rank:
        weights = ops.expand_dims(weights, axis=-1)
    if len(weights.shape) == rank + 1 and weights.shape[-1] == 1:
        weights = ops.squeeze(weights, axis=-1)
    return weights


class Labels:
    """The labels and sample weights of a batch, sorted by the student's outputs.

    Args:
        student: The student.
        outputs: List of `Output`.
        y: Labels as `fit` takes them, or `None`.
        y_pred: The student's outputs.
        sample_weight: As `fit` takes them, or `None`.
    """

    def __init__(self, student, outputs, y, y_pred, sample_weight):
        count = len(outputs)
        self.outputs = outputs
        self._student = student
        self._structure = y_pred
        self.labels = spread("y", y, student, count)
        self.weights = spread("sample_weight", sample_weight, student, count)
        self._clean, self._known = [], []
        flat = zip(self.labels, outputs, keras.tree.flatten(y_pred), strict=True)
        for labels, output, predicted in flat:
            known, clean = None, None
            if labels is not None:
                known, clean = labelled(labels, output, predicted.shape)
            self._known.append(known)
            self._clean.append(clean)

    def clean(self, y):
        """Labels for a loss, in the structure of `y`, with 0 where there was none."""
        if isinstance(y, dict):
            # By place: two outputs may have one tensor as their labels.
            count = len(self.labels)
            names = spread("y", {name: name for name in y}, self._student, count)
            pairs = zip(names, self._clean, strict=True)
            return {name: clean for name, clean in pairs if clean is not None}
        if not keras.tree.is_nested(y):
            return self._clean[0]
        return keras.tree.pack_sequence_as(y, self._clean)

    def hard_weights(self):
        """Sample weights, 0 without a label, in the structure of the outputs."""
        weights = [
            weights_of_labelled(weight, known)
            for weight, known in zip(self.weights, self._known, strict=True)
        ]
        if not keras.tree.is_nested(self._structure):
            return weights[0]
        if all(weight is None for weight in weights):
            return None
        return keras.tree.pack_sequence_as(self._structure, weights)

    def weights_of_all(self):
        """Sample weights `(batch,)` that hold for every output, or `None`."""
        first = self.weights[0]
        if first is None or any(one is not first for one in self.weights):
            return None
        is_one_each = len(first.shape) < 2 or tuple(first.shape[1:]) == (1,)
        return ops.reshape(aligned(first, 1), (-1,)) if is_one_each else None
