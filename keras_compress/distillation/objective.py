"""What a student's outputs are held against: kinds, labels, and soft terms in sum."""

import keras

from keras_compress.distillation.graphs import is_graph
from keras_compress.distillation.labels import Labels
from keras_compress.distillation.outputs import spread, student_outputs, teacher_outputs
from keras_compress.distillation.teachers import check_pair, listen
from keras_compress.distillation.terms import Settings, soft_terms


class Objective:
    """The student, the hard loss that was compiled, and what follows from them.

    Args:
        student: The student.
        mode: As of `Distiller`.
        matching: A `FeatureMatching`.
    """

    def __init__(self, student, mode, matching):
        self.student = student
        self.mode = mode
        self.matching = matching
        self.compiled = False
        self.loss = self.loss_weights = None

    def compile(self, loss, loss_weights, teachers):
        """Takes the hard loss; raises where it disagrees with student or teachers."""
        earlier = self.loss, self.loss_weights, self.compiled
        self.loss, self.loss_weights, self.compiled = loss, loss_weights, True
        try:
            self._check_kinds(teachers)
        except ValueError:
            self.loss, self.loss_weights, self.compiled = earlier
            raise

    def check(self, teachers):
        """Raises where these cannot teach this student; makes projections."""
        for teacher in teachers:
            check_pair(self.student, teacher)
        self._check_kinds(teachers)
        self.matching.follow(teachers)

    def labels(self, y, y_pred, sample_weight):
        """The `Labels` of a batch."""
        outputs = self._outputs(len(keras.tree.flatten(y_pred)))
        return Labels(self.student, outputs, y, y_pred, sample_weight)

    def listen(self, teachers, x, labels, training):
        """The `Saying` of the teachers; `None` without any, unless in training."""
        saying = listen(teachers, x, labels.outputs, self.matching)
        if saying is None and training:
            raise ValueError(
                "`distiller.teachers` must be a model, a list of models or an Ensemble "
                "before `fit`, unless the data come from keras_compress.distillation."
                "cache_logits: teachers are not saved with a Distiller. Received: None"
            )
        return saying

    def hard(self, compile_loss, labels, y, y_pred):
        """The hard loss, by Keras's `CompileLoss`; `None` without labels."""
        if y is None:
            return None
        if compile_loss is None:
            raise ValueError(
                "`compile` must be given `loss`, the hard loss, where there are labels "
                "and the mode is not 'mixed_target'. Received: loss=None"
            )
        hard = compile_loss(labels.clean(y), y_pred, labels.hard_weights())
        return None if hard is None else keras.ops.cast(hard, "float32")

    def soft(self, saying, labels, y_pred, temperature, alpha):
        """The soft terms of all outputs."""
        count = len(labels.outputs)
        losses = spread("loss", self.loss, self.student, count)
        weights = spread("loss_weights", self.loss_weights, self.student, count)
        settings = Settings(self.mode, temperature, alpha, saying)
        return soft_terms(settings, labels, y_pred, losses, weights)

    def _check_kinds(self, teachers):
        # Of a subclassed model, nothing is known before it is called.
        if self.compiled and is_graph(self.student):
            outputs = self._outputs(len(self.student.outputs))
            for teacher in teachers or ():
                teacher_outputs(teacher, outputs)

    def _outputs(self, count):
        losses = spread("loss", self.loss, self.student, count)
        return student_outputs(self.student, losses, count)
