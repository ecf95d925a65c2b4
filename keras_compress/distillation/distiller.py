"""`Distiller`: trains a student on what its teachers say, inside `fit`."""

import keras
from keras import ops

from keras_compress._copies import all_layers
from keras_compress._validation import check_choice, check_real, invalid
from keras_compress.distillation.cached_batch import CachedBatch
from keras_compress.distillation.feature_matching import FeatureMatching
from keras_compress.distillation.features import check_features
from keras_compress.distillation.late_labels import LateLabels
from keras_compress.distillation.objective import Objective
from keras_compress.distillation.teachers import as_ensemble
from keras_compress.distillation.terms import MODES, MeanLoss


@keras.saving.register_keras_serializable("keras_compress")
class Distiller(LateLabels):
    """Trains a student on labels and on the outputs of its teachers.

    To `compile` and `fit` like any model; `distiller.student` is the product. Beside
    Keras's own distiller it takes several teachers, teachers cached on disk, unlabelled
    data, sample and class weights, the student's regularizers and mixed precision; and
    it goes on training after it was saved and loaded.

    With `z`, `v` the logits of student and teacher, `q(T) = softmax(z / T)`,
    `p(T) = softmax(v / T)`, `t` the labels and `CE` the cross-entropy, the loss is

    - `"two_objectives"`: `alpha * T^2 * CE(p(T), q(T)) + (1 - alpha) * hard loss`;
    - `"mixed_target"`: `CE(alpha * p(T) + (1 - alpha) * t, q(T))`;
    - `"logits"`: `alpha * sum((z - v)^2) / 2 + (1 - alpha) * hard loss`;

    averaged over the batch, plus what the student adds by itself (regularizers). The
    hard loss is that of `compile`, which also says whether the student ends in logits;
    `"mixed_target"` does not use its value. A teacher that ends in softmax enters as
    `log p`. Units that end in sigmoid count as two classes each, outputs that are no
    classes are matched by their mean squared difference. With several outputs, terms
    are weighted by the `loss_weights` of `compile` and added.

    Examples without a label (a class of -1, a one-hot row of zeros, a binary unit below
    0) have the soft term alone, times `alpha`; so has all data in `fit(x)`. They count
    in the mean over the batch, and as errors in `metrics`, but not in
    `weighted_metrics`. A sample weight weighs both terms.

    `fit` also logs `soft_loss` (with `T^2`, without `alpha`), `hard_loss`, and
    `feature_loss`. An evaluation without teachers shows the student's own loss.

    Args:
        student: The Keras model to train.
        teachers: A Keras model, a list of them, or an `Ensemble`. They are neither
            trained, nor changed, nor saved inside, and share no trainable weights with
            the student. May be set later, as `distiller.teachers`, and is not needed
            for data of `cache_logits`.
        temperature: Number > 0 that logits are divided by.
        alpha: Weight of the soft term, in `[0, 1]`.
        mode: `"two_objectives"`, `"mixed_target"` or `"logits"`.
        features: `Hint`, `AttentionTransfer`, or a list of them. Defaults to none.

    Attributes:
        student: The student.
        teachers: An `Ensemble`, or `None`. Assignable.
        temperature: Scalar Keras variable. Assignable.
        alpha: Scalar Keras variable. Assignable.

    Raises:
        ValueError: If an argument is out of range, teachers do not fit the student, or
            it cannot be told whether a model ends in logits or in probabilities.

    Example:

    >>> x, y = np.random.rand(64, 8), np.random.randint(3, size=64)
    >>> teacher = keras.Sequential(
    ...     [keras.Input((8,)), keras.layers.Dense(3, activation="softmax")]
    ... )
    >>> student = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)])
    >>> distiller = Distiller(student, teacher, temperature=2.0)
    >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> distiller.compile("adam", loss, metrics=["accuracy"])
    >>> history = distiller.fit(x, y, verbose=0)
    >>> sorted(history.history)
    ['accuracy', 'hard_loss', 'loss', 'soft_loss']

    Reference:
        - [Hinton et al., 2015](https://arxiv.org/abs/1503.02531), section 2
        - [Ba & Caruana, 2014](https://arxiv.org/abs/1312.6184), equation 1
    """

    def __init__(
        self,
        student,
        teachers=None,
        *,
        temperature=4.0,
        alpha=0.9,
        mode="two_objectives",
        features=None,
        **kwargs,
    ):
        if not isinstance(student, keras.Model):
            raise invalid("student", "a keras.Model", student)
        check_real("temperature", temperature, above=0.0)
        check_real("alpha", alpha, minimum=0.0, maximum=1.0)
        check_choice("mode", mode, MODES)
        teachers = as_ensemble(teachers)
        features = check_features(features)
        kwargs.setdefault("dtype", student.dtype_policy)
        super().__init__(**kwargs)
        self.autocast = False  # inputs reach the student as they are
        self.student = student
        self.mode = mode
        self.features = features
        self._temperature = self._number("temperature", temperature)
        self._alpha = self._number("alpha", alpha)
        self._soft_loss = MeanLoss(name="soft_loss")
        has_hard = mode != "mixed_target"
        self._hard_loss = MeanLoss(name="hard_loss") if has_hard else None
        if features:
            self._feature_loss = MeanLoss(name="feature_loss")
        self._teachers = None
        self._matching = FeatureMatching(features, student)
        self._objective = Objective(student, mode, self._matching)
        self.built = student.built
        if teachers is not None:
            self.teachers = teachers

    def __setattr__(self, name, value):
        # Keras would track the teachers, and so train and save them; and a number in
        # the place of a variable would no longer change anything once compiled.
        if name in ("teachers", "temperature", "alpha"):
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    @property
    def teachers(self):
        """The `Ensemble` of teachers, or `None`."""
        return self._teachers

    @teachers.setter
    def teachers(self, teachers):
        teachers = as_ensemble(teachers)
        if teachers is not None:
            self._objective.check(teachers)
        self._teachers = teachers
        inside = [layer for one in teachers or () for layer in all_layers(one)]
        self.supports_jit = all(layer.supports_jit for layer in inside)
        if self.compiled and self.jit_compile:
            # Asks again; TensorFlow drops the assignment of a value that is there.
            self.jit_compile = False
            self.jit_compile = True
        self.train_function = self.test_function = None

    @property
    def temperature(self):
        """What logits are divided by, > 0: a scalar Keras variable."""
        return self._temperature

    @temperature.setter
    def temperature(self, value):
        self._temperature.assign(check_real("temperature", value, above=0.0))

    @property
    def alpha(self):
        """The weight of the soft term, in `[0, 1]`: a scalar Keras variable."""
        return self._alpha

    @alpha.setter
    def alpha(self, value):
        self._alpha.assign(check_real("alpha", value, minimum=0.0, maximum=1.0))

    @property
    def output_names(self):
        """The names of the student's outputs, for losses and metrics given by name."""
        return self.student.output_names

    def build(self, input_shape=None):
        if not self.student.built and input_shape is not None:
            self.student.build(input_shape)

    def compile(self, optimizer="rmsprop", loss=None, loss_weights=None, **kwargs):
        """Says how to train, as `keras.Model.compile` does.

        Args:
            optimizer: As in Keras.
            loss: The hard loss, held against the labels. It says whether the student
                ends in logits, and must agree with the student's last layer.
            loss_weights: As in Keras; they hold for the soft terms as well.
            **kwargs: As in Keras.

        Raises:
            ValueError: If the loss and the student's last layer disagree, or neither
                says whether the student ends in logits.
        """
        self._objective.compile(loss, loss_weights, self._teachers)
        super().compile(optimizer, loss, loss_weights, **kwargs)

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def call(self, inputs, training=None):
        if isinstance(inputs, CachedBatch):
            inputs = inputs.inputs
        if not self.features:
            return self.student(inputs, training=training)
        return self._matching.student_outputs(inputs, training)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        if y_pred is None:
            y_pred = self(x, training=training)
        labels = self._objective.labels(y, y_pred, sample_weight)
        total = sum(ops.sum(ops.cast(loss, "float32")) for loss in self.losses)
        saying = self._objective.listen(self._teachers, x, labels, training)
        hard = None
        if saying is None or self.mode != "mixed_target":
            hard = self._objective.hard(self._compile_loss, labels, y, y_pred)
        if hard is not None and self._hard_loss is not None:
            self._hard_loss.note(hard, y_pred)
        if saying is None:
            return total + (0.0 if hard is None else hard)
        soft = self._objective.soft(
            saying, labels, y_pred, self.temperature, self.alpha
        )
        self._soft_loss.note(soft, y_pred)
        total += soft if self.mode == "mixed_target" else self.alpha * soft
        if hard is not None:
            total += (1.0 - self.alpha) * hard
        if self.features:
            weights = labels.weights_of_all()
            term = self._matching.term(x, y_pred, saying.features, weights, training)
            self._feature_loss.note(term, y_pred)
            total += term
        return total

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        if y is None:
            # The metrics of `compile` have nothing to be held against.
            return self._own_results()
        labels = self._objective.labels(y, y_pred, sample_weight)
        return super().compute_metrics(x, y, y_pred, labels.hard_weights())

    def get_metrics_result(self):
        if self._compile_metrics is not None and not self._compile_metrics.built:
            # Keras before 3.15 has them as numbers here, later versions afterwards.
            return {name: float(value) for name, value in self._own_results().items()}
        return super().get_metrics_result()

    def get_config(self):
        features = map(keras.saving.serialize_keras_object, self.features)
        return {
            **super().get_config(),
            "student": keras.saving.serialize_keras_object(self.student),
            "temperature": float(ops.convert_to_numpy(self.temperature)),
            "alpha": float(ops.convert_to_numpy(self.alpha)),
            "mode": self.mode,
            "features": list(features),
            "projections": self._matching.sides,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        projections = config.pop("projections")
        for name in ("student", "features"):
            config[name] = keras.saving.deserialize_keras_object(
                config[name], custom_objects
            )
        distiller = cls(**config)
        if projections is not None:
            distiller._matching.project(projections)
        return distiller

    def _number(self, name, value):
        return self.add_weight(
            name=name,
            shape=(),
            initializer=keras.initializers.Constant(value),
            dtype="float32",
            autocast=False,
            trainable=False,
            aggregation="only_first_replica",
        )

    def _own_results(self):
        own = (one for one in self.metrics if one is not self._compile_metrics)
        return {one.name: one.result() for one in own}
