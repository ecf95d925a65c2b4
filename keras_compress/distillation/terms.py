"""The soft term: one output of a student held against its teachers."""

import dataclasses

import keras
import tensorflow as tf
from keras import ops

from keras_compress.distillation import labels as labels_module
from keras_compress.distillation.teachers import same_sides
from keras_compress.functional import distillation as formulas

MODES = ("two_objectives", "mixed_target", "logits")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What all soft terms of a batch share.

    Args:
        mode: One of `MODES`.
        temperature: Scalar tensor, > 0.
        alpha: Scalar tensor in `[0, 1]`.
        saying: The teachers' `Saying`.
    """

    mode: str
    temperature: object
    alpha: object
    saying: object


def soft_terms(settings, labels, y_pred, losses, loss_weights):
    """The soft terms of all outputs, weighed and reduced as their hard losses are.

    Args:
        settings: `Settings`.
        labels: The `Labels` of the batch.
        y_pred: The student's outputs.
        losses: List of hard losses or `None`s, one an output.
        loss_weights: List of numbers or `None`s, one an output.

    Returns:
        Scalar tensor. With `"mixed_target"` it holds alpha and the labels; else it is
        still to be multiplied by alpha.

    Raises:
        ValueError: If the teachers' outputs have other shapes than the student's.
    """
    total = 0.0
    flat = keras.tree.flatten(y_pred)
    for i, (output, student) in enumerate(zip(labels.outputs, flat, strict=True)):
        teachers = [logits[i] for logits in settings.saying.logits]
        _check_shapes(output, student, teachers)
        target = _target(settings, output, teachers, labels.labels[i], student)
        weights = labels.weights[i]
        if weights is not None:
            weights = labels_module.aligned(weights, len(student.shape) - 1)
        reduction = getattr(losses[i], "reduction", "sum_over_batch_size")
        term = _Reduced(_loss(settings, output), reduction)
        term = term(ops.stop_gradient(target), student, weights)
        unlabelled = settings.mode == "mixed_target" and labels.labels[i] is None
        if unlabelled and output.family == "values":
            term = settings.alpha * term
        weight = loss_weights[i]
        total = total + (term if weight is None else weight * term)
    return total


class PerExample(keras.losses.Loss):
    """Reduces, weighs and masks numbers that are losses already."""

    def call(self, y_true, y_pred):
        return y_pred


class MeanLoss(keras.metrics.Mean):
    """The mean of a loss over examples, for the logs."""

    def note(self, value, y_pred):
        """Takes in the loss of a batch of these outputs."""
        # Keras divides losses by the number of replicas, for their gradients add up.
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        count = ops.cast(ops.shape(keras.tree.flatten(y_pred)[0])[0], self.dtype)
        # What `update_state` would do with a weight, in a third of its operations.
        self.total.assign_add(value * replicas * count)
        self.count.assign_add(count)


class _Reduced(keras.losses.Loss):
    """A function of targets and outputs, with Keras's masks, weights and means."""

    def __init__(self, function, reduction):
        super().__init__(name="soft", reduction=reduction)
        self._function = function

    def call(self, y_true, y_pred):
        return self._function(y_true, y_pred)


def _check_shapes(output, student, teachers):
    """Raises where a subclassed or cached teacher turns out to be another's."""
    sides = list(student.shape) + ([2] if output.family == "binary" else [])
    for teacher in teachers:
        same = len(teacher.shape) == len(sides) and same_sides(teacher.shape, sides)
        if not same:
            raise ValueError(
                "`teachers` must have outputs of the student's shape, "
                f"{tuple(student.shape)}. Received: {tuple(teacher.shape)}"
            )


def _in_front(weights, rank):
    """Weights that are tensors of the batch, with as many axes as logits have."""
    return [
        ops.reshape(one, (-1,) + (1,) * (rank - 1)) if hasattr(one, "shape") else one
        for one in weights
    ]


def _target(settings, output, teachers, labels, student):
    """What the student's output is to become."""
    weights = _in_front(settings.saying.weights, len(teachers[0].shape))
    if settings.mode == "mixed_target" and labels is not None:
        labels = labels_module.targets(labels, output, student.shape)
    else:
        labels = None
    if output.family == "values":
        target = formulas.mean_logits(teachers, weights)
        if labels is None:
            return target
        return formulas.mixed_target(target, labels, settings.alpha)
    arithmetic = len(teachers) > 1 and settings.saying.combine == "probabilities"
    if settings.mode == "logits":
        if not arithmetic:
            return formulas.mean_logits(teachers, weights)
        mean = formulas.mean_probabilities(teachers, 1.0, weights)
        target = formulas.log_probabilities(mean)
        # A binary unit is a logit beside a zero.
        return target - target[..., 1:] if output.family == "binary" else target
    if arithmetic:
        soft = formulas.mean_probabilities(teachers, settings.temperature, weights)
    else:
        mean = formulas.mean_logits(teachers, weights)
        soft = formulas.soften(mean, settings.temperature)
    if settings.mode == "two_objectives":
        return soft
    if labels is None:
        return settings.alpha * soft
    return formulas.mixed_target(soft, labels, settings.alpha)


def _loss(settings, output):
    """A function of the target and the student's output: a loss a position."""
    temperature = settings.temperature

    def loss(target, student):
        student = output.logits(student)
        if output.family == "values":
            return formulas.squared_difference(target, student)
        if settings.mode == "logits":
            if output.family == "categorical" and output.probabilities:
                # A softmax's logarithm cannot follow the mean of a teacher's logits.
                target, student = formulas.centred(target), formulas.centred(student)
            values = formulas.logits_matching(target, student)
        elif settings.mode == "two_objectives":
            values = formulas.soft_cross_entropy(target, student, temperature)
        else:
            values = formulas.mixed_cross_entropy(target, student, temperature)
        return ops.mean(values, axis=-1) if output.family == "binary" else values

    return loss
