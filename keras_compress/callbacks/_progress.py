"""How far a fit has come, for callbacks that act by progress rather than by step."""

import keras


class ProgressCallback(keras.callbacks.Callback):
    """Calls `on_progress` with the fraction of the fit that is done, in `[0, 1]`.

    At the start of the first epoch, whichever that is (`initial_epoch` counts, and so
    does the epoch that `BackupAndRestore` goes back to), after every batch, and after
    every epoch. Where the length of an epoch is unknown, at epochs only.
    """

    def __init__(self):
        super().__init__()
        # Batch logs are not read, so Keras need not wait for them.
        self.async_safe = True
        self.progress = 0.0

    def on_progress(self, progress):
        """Acts on the progress of the fit. To be overridden."""

    def on_train_begin(self, logs=None):
        self._epoch = None

    def on_epoch_begin(self, epoch, logs=None):
        # Only here is the first epoch known: BackupAndRestore may have moved it.
        first = self._epoch is None
        self._epoch = epoch
        if first:
            self._report(epoch / self.params["epochs"])

    def on_train_batch_end(self, batch, logs=None):
        # The batch is the last one of the execution, so steps_per_execution needs no
        # care; nor does gradient accumulation, for a batch is a batch.
        steps = self.params["steps"]
        if steps:
            # One division of whole numbers: a third of the fit must not be 0.33329.
            done = self._epoch * steps + min(batch + 1, steps)
            self._report(done / (self.params["epochs"] * steps))

    def on_epoch_end(self, epoch, logs=None):
        self._report((epoch + 1) / self.params["epochs"])

    def _report(self, progress):
        self.progress = progress
        self.on_progress(progress)
