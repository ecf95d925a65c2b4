"""`IterativePruning`: prunes by a schedule while the model trains."""

import warnings

from keras import ops

from keras_compress._copies import all_layers
from keras_compress._validation import check_choice, check_int, invalid
from keras_compress.callbacks._progress import ProgressCallback
from keras_compress.functional.masks import check_sparsity
from keras_compress.layers.pruned import (
    is_pruned,
    packed_bytes,
    prune_together,
    total_sparsity,
)
from keras_compress.schedules import Schedule

# Without a frequency, a mask is renewed each time this share of the fit has passed.
UPDATE_EVERY = 0.01
REWINDS = ("weights", "learning_rate")


class IterativePruning(ProgressCallback):
    """Prunes the pruned layers of a model during `fit`, by a schedule over progress.

    A schedule speaks of the fraction of the fit that is done, so a fit of thirty steps
    reaches the same sparsity as one of thirty thousand. What is pruned stays pruned:
    where layers are sparser than the schedule asks, as in a fit that goes on from an
    earlier one, they are left as they are. Frozen layers are pruned, too. Adds
    `sparsity` (over all pruned layers, in `[0, 1]`) and `packed_bytes` (what their
    kernels take when compressed) to the logs of every epoch.

    Warns if the fit ends before the schedule does, if no step was left to train the
    final masks, or if weights were restored that bring an earlier mask back, as
    `EarlyStopping(restore_best_weights=True)` does: put this callback behind that one,
    and give that one a `start_from_epoch` behind the schedule's end.

    Args:
        schedule: A schedule of `keras_compress.schedules`.
        scope: `"layer"` prunes every layer to the sparsity of the schedule;
            `"global"` compares weights across layers and prunes the smallest of all,
            so that together they reach it.
        frequency: Positive integer, the number of optimizer updates between two
            changes of the masks. Defaults to about 100 changes over the fit. The mask
            is always renewed where the schedule ends.
        regrow: Whether masked weights train on under their masks and, at every change
            of the masks, compete with all others: a mistake is mended, until the
            schedule ends. With `frequency`, or a schedule that takes its time.
        rewind: What goes back to its state at the start of the fit when weights are
            pruned: `"weights"` (of the whole model, and the optimizer's state),
            `"learning_rate"` (the optimizer's state and with it a learning rate
            schedule; the weights stay) or `None`. For `schedules.Rounds`, in which
            every round then trains as the first one did.

    Raises:
        ValueError: If an argument is of the wrong kind; in `fit`, if the model has no
            pruned layers, one of them cannot get so sparse, or the optimizer does not
            count its iterations.

    Example:

    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> small = keras_compress.swap(model, keras_compress.Prune())
    >>> small.compile("adam", "mse")
    >>> pruning = IterativePruning(keras_compress.schedules.Cubic(0.75))
    >>> history = small.fit(
    ...     np.ones((64, 8)), np.ones((64, 4)), verbose=0, callbacks=[pruning]
    ... )
    >>> history.history["sparsity"]
    [0.75]

    Reference:
        - [Han et al., 2015](https://arxiv.org/abs/1506.02626), section 3
        - [Zhu & Gupta, 2017](https://arxiv.org/abs/1710.01878)
        - `regrow`: [Guo et al., 2016](https://arxiv.org/abs/1608.04493)
        - `rewind`: [Renda et al., 2020](https://arxiv.org/abs/2003.02389)
    """

    def __init__(
        self, schedule, *, scope="layer", frequency=None, regrow=False, rewind=None
    ):
        super().__init__()
        if not isinstance(schedule, Schedule):
            raise invalid(
                "schedule", "a schedule of keras_compress.schedules", schedule
            )
        if frequency is not None:
            check_int("frequency", frequency, minimum=1)
        self.schedule = schedule
        self.scope = check_choice("scope", scope, ("layer", "global"))
        self.frequency = frequency
        if not isinstance(regrow, bool):
            raise invalid("regrow", "True or False", regrow)
        self.regrow = regrow
        self.rewind = check_choice("rewind", rewind, (None, *REWINDS))

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self._layers = [layer for layer in all_layers(self.model) if is_pruned(layer)]
        if not self._layers:
            raise ValueError(
                f"IterativePruning found no pruned layers in {self.model.name!r}. "
                "Swap some first: keras_compress.swap(model, keras_compress.Prune())"
            )
        for layer in self._layers:
            check_sparsity("schedule", self.schedule.final, layer.pattern)
        if getattr(self.model.optimizer, "iterations", None) is None:
            raise ValueError(
                "IterativePruning needs an optimizer that counts its `iterations`. "
                f"Received: {type(self.model.optimizer).__name__}"
            )
        if self.rewind is not None:
            self._start = self._state()
        self._let_masked_train(self.regrow)
        self._last_progress = None
        self._last_step = None
        self._ended_at = None
        self._reached = 0.0

    def on_progress(self, progress):
        if self._is_due(progress):
            self._prune(self.schedule(progress))
            self._last_progress = progress
            self._last_step = self._step()
            self._reached = total_sparsity(self._layers)
            if self._ended_at is None and progress >= self.schedule.end:
                self._ended_at = progress

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        if logs is not None:
            logs["sparsity"] = total_sparsity(self._layers)
            logs["packed_bytes"] = sum(packed_bytes(layer) for layer in self._layers)

    def on_train_end(self, logs=None):
        self._let_masked_train(False)
        sparsity = total_sparsity(self._layers)
        if self._ended_at is None:
            problem = (
                f"The fit ended at {self.progress:.0%} of its progress, before the "
                f"pruning schedule did at {self.schedule.end:.0%}: the sparsity is "
                f"{sparsity:.4f} instead of {self.schedule.final:.4f}. Fit on with "
                "`initial_epoch`, or call `prune` of the layers."
            )
        elif sparsity < self._reached:
            problem = (
                f"The sparsity fell from {self._reached:.4f} to {sparsity:.4f} after "
                "the last pruning: weights of an earlier time were restored. Let "
                "EarlyStopping start from an epoch behind the end of the schedule."
            )
        elif self._ended_at == 1.0 > self.schedule.end:
            problem = (
                "The fit was too short for its pruning schedule: the final masks came "
                "after the last step, and nothing has trained what they left. Fit on."
            )
        else:
            return
        warnings.warn(problem, stacklevel=2)

    def _is_due(self, progress):
        last = self._last_progress
        if last is None or last < self.schedule.end <= progress:
            return True
        if progress >= self.schedule.end:
            return False
        if self.frequency is not None:
            return self._step() - self._last_step >= self.frequency
        return progress >= last + UPDATE_EVERY

    def _prune(self, sparsity):
        before = total_sparsity(self._layers)
        how = {"regrow": False, "splice": self.regrow}
        if self.scope == "global":
            prune_together(self._layers, max(sparsity, before), **how)
        else:
            for layer in self._layers:
                layer.prune(sparsity=max(sparsity, layer.sparsity), **how)
        if self.rewind is not None and total_sparsity(self._layers) > before:
            for variable, value in self._start:
                variable.assign(value)

    def _state(self):
        """What a rewind brings back: pairs of a variable and its value."""
        variables = list(self.model.optimizer.variables)
        if self.rewind == "weights":
            variables += self.model.trainable_variables
        return [(variable, ops.convert_to_numpy(variable)) for variable in variables]

    def _let_masked_train(self, wanted):
        if any(layer.trains_masked != wanted for layer in self._layers):
            for layer in self._layers:
                layer.trains_masked = wanted
            # What was traced before does otherwise.
            self.model.make_train_function(force=True)

    def _step(self):
        # Of a LossScaleOptimizer, it is the inner one that counts.
        optimizer = self.model.optimizer
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        return int(ops.convert_to_numpy(optimizer.iterations))
