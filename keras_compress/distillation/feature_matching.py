"""Layers of a student that follow layers of its teachers, in one call of each."""

import threading

import keras
from keras import ops

from keras_compress._validation import invalid
from keras_compress.distillation.cached_batch import CachedBatch
from keras_compress.distillation.graphs import calls_of, is_graph, output_structure
from keras_compress.distillation.teachers import same_sides
from keras_compress.distillation.terms import PerExample


class FeatureMatching(keras.layers.Layer):
    """The projections of a distiller's features, and the models that show features.

    Args:
        features: Tuple of features.
        student: The student.
    """

    def __init__(self, features, student):
        super().__init__(name="feature_matching", dtype="float32")
        self.features = features
        self.sides = None
        self.projections = []
        self._shown = _Shown()
        if features:
            names = [feature.student for feature in features]
            self._shown.student = extractor(student, names, "student")
        self.built = True

    def teacher(self, member):
        """The model that shows the features of a teacher, `None` if none is asked for.

        Not a property: Keras would find the models there, and save them.
        """
        return self._shown.teachers.get(member)

    def follow(self, ensemble):
        """Takes the teachers, and makes the projections if there are none.

        Args:
            ensemble: An `Ensemble`.

        Raises:
            ValueError: If layers are missing, or shapes cannot be matched.
        """
        for feature in self.features:
            if feature.member >= len(ensemble):
                raise invalid(
                    "features",
                    f"of members below {len(ensemble)}, the teachers",
                    feature,
                )
        teachers = {}
        for member in sorted({feature.member for feature in self.features}):
            names = [f.teacher for f in self.features if f.member == member]
            teachers[member] = extractor(ensemble[member], names, "teacher")
        if self.features:
            symbolic = {member: model.output[1] for member, model in teachers.items()}
            pairs = zip(
                *(self.features, self._shown.student.output[1]),
                self._by_feature(symbolic),
                strict=True,
            )
            self.project([_sides(feature, a.shape, b.shape) for feature, a, b in pairs])
        self._shown.teachers = teachers

    def project(self, sides):
        """Makes projections, unless there are some, which must be the same then.

        Args:
            sides: List, one a feature, of `None` or pairs of inputs and outputs.
        """
        sides = [side and tuple(side) for side in sides]
        if self.sides is not None:
            if [side and tuple(side) for side in self.sides] != sides:
                raise invalid(
                    "teachers", f"of features that fit projections {self.sides}", sides
                )
            return
        self.sides = sides
        for index, side in enumerate(sides):
            layer = None
            if side is not None:
                layer = keras.layers.Dense(
                    side[1], name=f"projection_{index}", dtype="float32"
                )
                layer.build((None, side[0]))
            self.projections.append(layer)

    def student_outputs(self, inputs, training):
        """The student's outputs, from a call that also keeps its features."""
        y_pred, features = self._shown.student(inputs, training=training)
        self._shown.last.call = (y_pred, features)
        return y_pred

    def term(self, x, y_pred, teachers, weights, training):
        """The sum of all features' terms.

        Args:
            x: The student's inputs, or a `CachedBatch`.
            y_pred: What `student_outputs` returned for them.
            teachers: Mapping from members to lists of features.
            weights: Sample weights `(batch,)` or `None`.
            training: Whether the student is training.

        Returns:
            Scalar tensor.
        """
        last = getattr(self._shown.last, "call", None)
        first = keras.tree.flatten(y_pred)[0]
        if last is None or keras.tree.flatten(last[0])[0] is not first:
            # Asked for the loss of outputs that came from elsewhere.
            inputs = x.inputs if isinstance(x, CachedBatch) else x
            self.student_outputs(inputs, training)
            last = self._shown.last.call
        self._shown.last.call = None
        theirs = self._by_feature(teachers)
        total = 0.0
        for feature, ours, their, projection in zip(
            self.features, last[1], theirs, self.projections, strict=True
        ):
            loss = _loss(feature, ours, their, projection)
            total = total + feature.weight * PerExample()(loss, loss, weights)
        return total

    def _by_feature(self, teachers):
        """What each feature follows, from lists by member."""
        waiting = {member: iter(flat) for member, flat in teachers.items()}
        return [next(waiting[feature.member]) for feature in self.features]


class _Shown:
    """Models that share layers with others, kept from being saved and trained twice.

    `last.call` holds the outputs and features of the last call of the student; replicas
    run in threads of their own.
    """

    def __init__(self):
        self.student = None
        self.teachers = {}
        self.last = threading.local()


def extractor(model, names, role):
    """A model of the same layers that also returns the outputs of some of them.

    Args:
        model: A Sequential or Functional model.
        names: List of names of its layers.
        role: `"student"` or `"teacher"`, for errors.

    Returns:
        A `keras.Model` of `[outputs, [feature, ...]]`.

    Raises:
        ValueError: If the model's layers cannot be seen, or a name is not among them.
    """
    if not is_graph(model):
        raise ValueError(
            f"`features` must name layers of a Sequential or Functional {role}. "
            f"Received: {model.name!r}, a subclassed {type(model).__name__}"
        )
    layers = {layer.name: layer for layer in model.layers}
    for name in names:
        if name not in layers:
            raise ValueError(
                f"`features` must name layers of the {role} {model.name!r}: one of "
                f"{', '.join(layers)}. Received: {role}={name!r}"
            )
        if getattr(layers[name], "data_format", None) == "channels_first":
            raise ValueError(
                "`features` must name layers with the channels last. Received: "
                f"{role}={name!r}, of data_format='channels_first'"
            )
    sequential = isinstance(model, keras.Sequential)
    inputs = model.inputs[0] if sequential else model.input
    calls = calls_of(model)
    features = []
    for name in names:
        found = calls.get(layers[name], [])
        if len(found) != 1:
            raise ValueError(
                f"`features` must name layers that the {role} {model.name!r} calls "
                f"once. Received: {role}={name!r}, called {len(found)} times"
            )
        (outputs,) = found
        features.append(outputs[0] if len(outputs) == 1 else outputs)
    return keras.Model(inputs, [output_structure(model), features])


def _loss(feature, student, teacher, projection):
    """A loss an example."""
    student = ops.cast(student, "float32")
    teacher = ops.stop_gradient(ops.cast(teacher, "float32"))
    if projection is not None:
        student = projection(student)
    if len(student.shape) == 4 and student.shape[1:3] != teacher.shape[1:3]:
        size = ops.shape(student)[1:3]
        teacher = ops.image.resize(teacher, size, data_format="channels_last")
    return feature.loss(teacher, student)


def _sides(feature, ours, theirs):
    """`None` or `(inputs, outputs)` of a projection, for shapes that can be matched."""
    positions = len(ours) == len(theirs) and (
        len(ours) == 4 or same_sides(ours[1:-1], theirs[1:-1])
    )
    if not positions or (len(ours) < 3 and not feature.projects):
        raise ValueError(
            "`features` must name layers whose outputs agree in all but height, width "
            f"and channels. Received: {feature}, of shapes {tuple(ours)} and "
            f"{tuple(theirs)}"
        )
    if not feature.projects or ours[-1] == theirs[-1]:
        return None
    return ours[-1], theirs[-1]
