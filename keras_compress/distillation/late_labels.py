"""Training functions for data whose labels come later, or never."""

import keras


class LateLabels(keras.Model):
    """What makes the `Distiller`'s training function anew when labels come.

    A function that was traced without labels cannot make the variables of metrics and
    losses any more, which Keras makes of the first labels that it sees.
    """

    _is_unlabelled = False

    def make_train_function(self, force=False):
        awaits = self._awaits_labels() and not self._is_unlabelled
        return super().make_train_function(force or awaits)

    def make_test_function(self, force=False):
        return super().make_test_function(force or self._awaits_labels())

    def train_on_batch(self, x, y=None, *args, **kwargs):
        # Made for such a batch already, it would be traced again for every one.
        self._is_unlabelled = y is None and self.train_function is not None
        try:
            return super().train_on_batch(x, y, *args, **kwargs)
        finally:
            self._is_unlabelled = False

    def _awaits_labels(self):
        hard = None if self.mode == "mixed_target" else self._compile_loss
        return any(one and not one.built for one in (self._compile_metrics, hard))
