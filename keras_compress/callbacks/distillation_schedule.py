"""`DistillationSchedule`: temperature and alpha that change over a fit."""

from keras_compress._validation import invalid
from keras_compress.callbacks._progress import ProgressCallback
from keras_compress.distillation.distiller import Distiller


class DistillationSchedule(ProgressCallback):
    """Sets a distiller's temperature and alpha by how far the fit has come.

    They stay, after the fit, where they are then. Adds `temperature` and `alpha` to the
    logs of every epoch, of those that it sets.

    Args:
        temperature: Function of the progress, in `[0, 1]`, to a number > 0. Defaults
            to leaving it alone.
        alpha: Function of the progress to a number in `[0, 1]`, likewise.

    Raises:
        ValueError: If neither is given, or one is not callable; in `fit`, if the model
            is no `Distiller` or a function returns a number out of range.

    Example:

    >>> cooling = DistillationSchedule(temperature=lambda progress: 8 - 7 * progress)
    """

    def __init__(self, *, temperature=None, alpha=None):
        super().__init__()
        given = {"temperature": temperature, "alpha": alpha}
        self._given = {name: one for name, one in given.items() if one is not None}
        if not self._given:
            raise ValueError(
                "`DistillationSchedule` must be given `temperature`, `alpha`, or both. "
                "Received: neither"
            )
        for name, one in self._given.items():
            if not callable(one):
                raise invalid(name, "a function of the progress", one)

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        if not isinstance(self.model, Distiller):
            raise ValueError(
                "`DistillationSchedule` must be used in the fit of a Distiller. "
                f"Received: {self.model.name!r}, a {type(self.model).__name__}"
            )

    def on_progress(self, progress):
        for name, function in self._given.items():
            setattr(self.model, name, float(function(progress)))

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        if logs is not None:
            logs.update(
                {name: float(getattr(self.model, name)) for name in self._given}
            )
