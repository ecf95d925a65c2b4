"""What differs in a fit with `IterativePruning`, and how it is set back whatever comes.

Keras calls no `on_train_end` where a fit is interrupted or another callback fails. But
every fit, and every `train_on_batch`, first asks for the function of the training step.
"""


class PruningFit:
    """Lets masked weights train, and dropout follow the masks, until `end`.

    Args:
        model: The model that is fitted.
        network: The one that is pruned: itself, or the student of a `Distiller`.
        layers: The pruned layers.
        dropout: A `RetrainingDropout`, or `None`.
        trains_masked: Whether masked weights train.
    """

    def __init__(self, model, network, layers, dropout, trains_masked):
        self._model, self._layers, self._dropout = model, layers, dropout
        self._owners = {id(owner): owner for owner in (model, network)}.values()
        self._trains_masked = trains_masked
        self._differs = trains_masked or dropout is not None
        self._begun = False

    def begin(self):
        """Sets what differs."""
        self._begun = True
        self._switch(True)
        if self._differs:
            for owner in self._owners:
                # Past Keras's tracking.
                watch = owner.__dict__.setdefault("make_train_function", _Watch(owner))
                watch.fits.append(self)
            _trace_anew(self._model)

    def end(self):
        """Sets it back; does nothing the second time."""
        if not self._begun:
            return
        self._begun = False
        self._switch(False)
        if self._differs:
            for owner in self._owners:
                watch = owner.__dict__["make_train_function"]
                watch.fits.remove(self)
                if not watch.fits:
                    del owner.__dict__["make_train_function"]
            _trace_anew(self._model)

    def _switch(self, on):
        if self._trains_masked:
            for layer in self._layers:
                layer.trains_masked = on
        if self._dropout is not None:
            self._dropout.install() if on else self._dropout.remove()


class _Watch:
    """Stands in for a model's `make_train_function`, to end fits that were cut off."""

    def __init__(self, owner):
        self.owner, self.fits = owner, []

    def __call__(self, force=False):
        for fit in list(self.fits):
            fit.end()
        _trace_anew(self.owner)


def _trace_anew(model):
    """What was traced before does otherwise. No call of the watch, which ends fits."""
    type(model).make_train_function(model, force=True)
