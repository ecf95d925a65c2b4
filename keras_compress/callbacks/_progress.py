"""How far a fit has come, for callbacks that act by progress rather than by step."""

import keras


class ProgressCallback(keras.callbacks.Callback):
    """Calls `on_progress` with the fraction of the fit that is done, in `[0, 1]`.

    At the start of every epoch (`initial_epoch` counts, and so does the epoch that
    `BackupAndRestore` goes back to), after every batch, and at the end. Where the
    length of an epoch is unknown, the first one tells it: within that one there is no
    progress. Nothing changes between an epoch's last batch and its validation, but for
    a fit of a single epoch of unknown length.
    """

    def __init__(self):
        super().__init__()
        # Batch logs are not read, so Keras need not wait for them.
        self.async_safe = True
        self.progress = 0.0

    def on_progress(self, progress):
        """Acts on the progress of the fit. To be overridden."""

    def on_train_begin(self, logs=None):
        self._steps = (self.params or {}).get("steps")
        self._batches = 0
        self._reported = None

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        self._report(epoch / self.params["epochs"])

    def on_train_batch_end(self, batch, logs=None):
        # The batch is the last one of the execution, so steps_per_execution needs no
        # care; nor does gradient accumulation, for a batch is a batch.
        self._batches = batch + 1
        if self._steps:
            # One division of whole numbers: a third of the fit must not be 0.33329.
            done = self._epoch * self._steps + min(self._batches, self._steps)
            self._report(done / (self.params["epochs"] * self._steps))

    def on_epoch_end(self, epoch, logs=None):
        self._steps = self._steps or self._batches
        if epoch + 1 == self.params["epochs"]:
            self._report(1.0)

    def _report(self, progress):
        # The end of an epoch is the start of the next.
        if progress != self._reported:
            self.progress = self._reported = progress
            self.on_progress(progress)
