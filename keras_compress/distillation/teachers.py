"""Teachers, one or several, whose outputs are computed once a batch."""

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np

from keras_compress._validation import check_choice, check_real, invalid
from keras_compress.distillation.cached_batch import FAMILIES, CachedBatch
from keras_compress.distillation.graphs import is_graph, output_structure
from keras_compress.distillation.outputs import Output, teacher_outputs


class Ensemble(Sequence):
    """Several networks that teach as one, of any mix of architectures.

    A sequence of the models. A single model or a list of models given to a `Distiller`
    becomes one, with the defaults. The models are only ever called, with
    `training=False`: no weight, statistic or setting of theirs changes.

    Args:
        models: A Keras model or a sequence of them. All take the student's inputs and
            have outputs like the student's; some may end in softmax and some in logits.
        combine: `"probabilities"`: the mean of their softened probabilities;
            `"logits"`: the softened mean of their logits, which is the geometric mean
            of their probabilities.
        weights: Sequence of numbers >= 0, one a model; they are divided by their sum.
            Defaults to equal weights.

    Attributes:
        combine: As given.
        weights: Tuple of floats of sum 1.

    Raises:
        ValueError: If an argument is of the wrong kind.

    Example:

    >>> models = [
    ...     keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]) for _ in "ab"
    ... ]
    >>> teachers = Ensemble(models, combine="logits", weights=[3, 1])
    >>> len(teachers), teachers.weights
    (2, (0.75, 0.25))

    Reference:
        - [Hinton et al., 2015](https://arxiv.org/abs/1503.02531), section 2.
    """

    def __init__(self, models, *, combine="probabilities", weights=None):
        if isinstance(models, keras.Model):
            models = [models]
        if not isinstance(models, Sequence) or isinstance(models, str) or not models:
            raise invalid("teachers", "a keras.Model or a sequence of them", models)
        for model in models:
            if not isinstance(model, keras.Model):
                raise invalid("teachers", "a keras.Model or a sequence of them", model)
        self._models = tuple(models)
        self.combine = check_choice("combine", combine, ("probabilities", "logits"))
        self.weights = check_weights(weights, len(models))

    def __len__(self):
        return len(self._models)

    def __getitem__(self, index):
        return self._models[index]

    def __repr__(self):
        names = ", ".join(model.name for model in self)
        return f"Ensemble([{names}], combine={self.combine!r}, weights={self.weights})"


def as_ensemble(teachers):
    """An `Ensemble` of whatever was given as teachers; `None` stays `None`."""
    if teachers is None or isinstance(teachers, Ensemble):
        return teachers
    return Ensemble(teachers)


def check_weights(weights, count):
    """The weights as a tuple of floats of sum 1."""
    if weights is None:
        return (1.0 / count,) * count
    expected = f"{count} numbers >= 0, not all 0"
    if isinstance(weights, str) or not isinstance(weights, Sequence | np.ndarray):
        raise invalid("weights", expected, weights)
    weights = [check_real("weights", float(one), minimum=0.0) for one in weights]
    if len(weights) != count or not sum(weights):
        raise invalid("weights", expected, weights)
    return tuple(one / sum(weights) for one in weights)


def check_pair(student, teacher):
    """Raises where a teacher cannot teach the student, as far as that can be seen."""
    ours = {id(variable) for variable in student.trainable_variables}
    shared = [v.path for v in teacher.trainable_variables if id(v) in ours]
    if shared:
        raise ValueError(
            "`teachers` must share no trainable weights with the student, for they "
            f"would be trained with it. Received: {teacher.name!r}, which shares "
            f"{', '.join(shared[:3])}; copy it by keras.models.clone_model and "
            "set_weights, or freeze what is shared"
        )
    if is_graph(student) and is_graph(teacher):
        _check_inputs(student, teacher)
        _check_outputs(student, teacher)


def _check_inputs(student, teacher):
    """Raises where no input fits both. Keras itself adds or drops a last axis of 1."""
    pairs = [tuple(model.inputs[0].shape) for model in (student, teacher)]
    alone = len(student.inputs) == len(teacher.inputs) == 1
    if alone and len(pairs[0]) == len(pairs[1]) and not same_sides(*pairs):
        raise ValueError(
            f"`teachers` must be models of the student's inputs, {pairs[0]}. "
            f"Received: {teacher.name!r}, whose inputs are {pairs[1]}"
        )


def _check_outputs(student, teacher):
    """Raises where the outputs of a teacher cannot be held against the student's."""
    ours, theirs = (
        keras.tree.map_structure(
            lambda tensor: tuple(tensor.shape), output_structure(model)
        )
        for model in (student, teacher)
    )
    same = _paths(student) == _paths(teacher) and all(
        len(one.shape) == len(other.shape) and same_sides(one.shape, other.shape)
        for one, other in zip(student.outputs, teacher.outputs, strict=True)
    )
    if not same:
        raise ValueError(
            f"`teachers` must be models with outputs of the student's shapes, {ours}. "
            f"Received: {teacher.name!r}, whose outputs are {theirs}"
        )


def same_sides(one, other):
    """Whether two shapes of one rank agree, as far as they are known."""
    return all(
        None in pair or pair[0] == pair[1] for pair in zip(one, other, strict=True)
    )


def _paths(model):
    """Where each output stands: its key or position."""
    outputs = output_structure(model)
    if isinstance(outputs, dict):
        return sorted(outputs)
    return len(keras.tree.flatten(outputs))


@dataclasses.dataclass(frozen=True)
class Saying:
    """What the teachers say of a batch.

    Args:
        logits: List, one a teacher, of lists, one an output, as of `Output.logits`.
        combine: As of `Ensemble`.
        weights: Sequence, one a teacher: numbers, or tensors `(batch,)`.
        features: Mapping from members to lists of features.
    """

    logits: list
    combine: str
    weights: object
    features: dict


def listen(ensemble, x, students, matching):
    """Runs each teacher once, unless what it says came with the data.

    Args:
        ensemble: An `Ensemble`, or `None`.
        x: The inputs, or a `CachedBatch`.
        students: List of `Output`: what the student's outputs are.
        matching: A `FeatureMatching`.

    Returns:
        A `Saying`, or `None` if there is nobody to say anything.

    Raises:
        ValueError: If outputs or features are missing.
    """
    cached = isinstance(x, CachedBatch)
    inputs = x.inputs if cached else x
    if ensemble is None and (not cached or matching.features):
        return None
    raw, features = [], {}
    for member, model in enumerate(ensemble or ()):
        extractor = matching.teacher(member)
        if extractor is not None:
            outputs, found = extractor(inputs, training=False)
            raw.append(outputs)
            features[member] = found
        elif not cached:
            raw.append(model(inputs, training=False))
    if cached:
        families = x.families or [[()] * len(flat) for flat in x.teachers]
        logits = [
            [_cached_logits(*one) for one in zip(students, *pair, strict=True)]
            for pair in zip(x.teachers, families, strict=True)
        ]
        count = len(x.teachers)
        weights = (1.0 / count,) * count
        if keras.tree.flatten(x.weights):
            weights = keras.ops.unstack(x.weights, count, axis=1)
        return Saying(logits, "probabilities", weights, features)
    logits = [
        [one.logits(tensor) for one, tensor in zip(*pair, strict=True)]
        for pair in (
            (teacher_outputs(model, students), keras.tree.flatten(outputs))
            for model, outputs in zip(ensemble, raw, strict=True)
        )
    ]
    return Saying(logits, ensemble.combine, ensemble.weights, features)


def _cached_logits(student, tensor, told):
    """Logits of an output, held against what the student's is, from a `CachedBatch`."""
    families = {type(one): family for family, one in FAMILIES.items()}
    family = families.get(type(told), student.family)
    if family != student.family:
        raise ValueError(
            f"`x` must be cached from teachers of the student's kind, {student.family}."
            f" Received: outputs that are {family}"
        )
    return Output(family, False).logits(tensor)
