"""`IterativePruning`: prunes by a schedule while the model trains."""

import warnings

from keras_compress._criterion import Criterion
from keras_compress._validation import check_choice, check_int, invalid
from keras_compress.callbacks import _optimizer, _pruned_layers, _pruning_plan
from keras_compress.callbacks._progress import ProgressCallback
from keras_compress.callbacks._pruning_fit import PruningFit
from keras_compress.callbacks._retraining_dropout import RetrainingDropout
from keras_compress.callbacks._rewind import REWINDS, rewound
from keras_compress.distillation.distiller import Distiller
from keras_compress.functional.regrowth import exchanged_share
from keras_compress.layers._regrowth import exchange
from keras_compress.layers.pruned import packed_bytes, total_sparsity
from keras_compress.schedules import Schedule

# Without a frequency, a mask is renewed each time this share of the fit has passed.
UPDATE_EVERY = 0.01


class IterativePruning(ProgressCallback):
    """Prunes the pruned layers of a model during `fit`, by a schedule over progress.

    A schedule speaks of the fraction of the fit that is done, so a fit of thirty steps
    reaches the same sparsity as one of thirty thousand. What is pruned stays pruned:
    where layers are sparser than the schedule asks, as in a fit that goes on from an
    earlier one, they are left as they are. Frozen layers are pruned, too. Adds
    `sparsity` (over all layers that it prunes, in `[0, 1]`) and `packed_bytes` (what
    their kernels take when compressed) to the logs of every epoch.

    Warns if the fit ends before the schedule does, if no step was left to train the
    final masks, or if weights were restored that bring an earlier mask back, as
    `EarlyStopping(restore_best_weights=True)` does: put this callback behind that one,
    and give that one a `start_from_epoch` behind the schedule's end.

    Args:
        schedule: A schedule of `keras_compress.schedules`.
        scope: `"layer"` prunes every layer to the sparsity of the schedule;
            `"global"` compares weights across layers and prunes the smallest of all,
            so that together they reach it.
        target: What to reach, where it is not the schedule's sparsity in all layers;
            the schedule then says how far on the way the fit is, of which it goes
            `schedule(progress) / schedule.final`.

            - A mapping from layers (globs on names or paths, as in `swap`) to the
              sparsity of each; the path of a layer goes before globs and names, and
              of these the first that matches. Others follow the schedule. What
              `analysis.sensitivity(...).budget(...)` returns is such a mapping.
            - A budget for all of them together: `{"weights": 0.08}`, or `"bytes"`
              (compressed, as in `packed_bytes`), or `"multiply_adds"` of one example;
              a float in `(0, 1]` is a share of what the dense layers take, an integer
              the number itself. `Cubic(1.0, ...)` goes there. With scope `"layer"` all
              layers get equally sparse; with `"global"` the smallest weights of all go,
              until what the others take is within the budget.
        frequency: Positive integer, the number of optimizer updates between two
            changes of the masks, counted from the optimizer's first. Defaults to about
            100 changes over the fit. The mask is always renewed where the schedule
            ends.
        regrow: Whether, until the schedule ends, masked weights may come back at a
            change of the masks. Give it `frequency`, or a schedule that takes its time.

            - `True`: they train on under their masks and compete with all others (as
              in dynamic network surgery).
            - `"momentum"`: at first 20 % of each layer's weights, the smallest, and
              ever fewer of them, give way to those where the optimizer's momentum is
              largest; these start from 0. With scope `"global"` they move between
              layers, too, to those whose momentum is largest (sparse momentum).
              `Cubic(0.9, initial=0.9)` trains sparsely from the start.
        rewind: What goes back to its state at the start of the fit when weights are
            pruned: `"weights"` (of the whole model, and the optimizer's state),
            `"learning_rate"` (the optimizer's state and with it a learning rate
            schedule; the weights stay) or `None`. For `schedules.Rounds`, in which
            every round then trains as the first one did. Put this callback before
            `BackupAndRestore`, so that a fit that goes on rewinds as far as before.
        criterion: Which weights go first, as in `keras_compress.prune`: a name or a
            function of one's own. Those that look at data do so at every change of the
            masks: give them a `frequency`, or `schedules.Rounds`.
        data: As in `keras_compress.prune`, for the criterion.
        targets: As in `keras_compress.prune`, for the criterion.
        refit: As in `keras_compress.prune`: at every change of the masks.
        exclude: Glob or list of globs on names or paths: pruned layers that are left
            as they are.
        rescale_dropout: Whether each `Dropout` behind a pruned layer drops at
            `rate * sqrt(kept / all)` of that layer's connections during the fit, as a
            network with fewer connections overfits less. The layers' own `rate` stays
            as it is: give a callback of such a kind to later fits, too.

    Raises:
        ValueError: If an argument is of the wrong kind; in `fit`, if the model has no
            pruned layers, one of them cannot get so sparse, a glob matches none, a
            budget cannot be met, or the optimizer does not count its `iterations` or
            has no momentum to regrow by.

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
        - `regrow=True`: [Guo et al., 2016](https://arxiv.org/abs/1608.04493)
        - `regrow="momentum"`:
          [Dettmers & Zettlemoyer, 2019](https://arxiv.org/abs/1907.04840)
        - `rewind`: [Renda et al., 2020](https://arxiv.org/abs/2003.02389)
    """

    def __init__(
        self,
        schedule,
        *,
        scope="layer",
        target=None,
        frequency=None,
        regrow=False,
        rewind=None,
        criterion="magnitude",
        data=None,
        targets=None,
        refit=None,
        exclude=None,
        rescale_dropout=False,
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
        self.target = _pruning_plan.check_target(target)
        self.frequency = frequency
        if not isinstance(regrow, bool) and regrow != "momentum":
            raise invalid("regrow", 'True, False or "momentum"', regrow)
        self.regrow = regrow
        self.rewind = check_choice("rewind", rewind, (None, *REWINDS))
        self._criterion = Criterion(criterion, data=data, targets=targets, refit=refit)
        if rewind == "weights" and self._criterion.refits:
            expected = 'False with rewind="weights", which undoes it'
            raise invalid("refit", expected, refit)
        self.criterion = criterion
        self.exclude = _pruned_layers.check_globs("exclude", exclude)
        if not isinstance(rescale_dropout, bool):
            raise invalid("rescale_dropout", "True or False", rescale_dropout)
        self.rescale_dropout = rescale_dropout

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        network = self.model
        if isinstance(network, Distiller):
            network = network.student
        self._network = network
        if getattr(self.model.optimizer, "iterations", None) is None:
            raise ValueError(
                "IterativePruning needs an optimizer that counts its `iterations`. "
                f"Received: {type(self.model.optimizer).__name__}"
            )
        layers = _pruned_layers.layers_of(network, self.exclude)
        self._layers = list(layers.values())
        self._parts = _pruning_plan.plan_of(
            network, layers, self.schedule, self.scope, self.target
        )
        # Its slots are part of what is read and rewound; `fit` makes them too late.
        if not self.model.optimizer.built:
            with self.model.distribute_strategy.scope():
                self.model.optimizer.build(self.model.trainable_variables)
        if self.regrow == "momentum":
            _optimizer.check_momentum(self.model.optimizer)
            _pruning_plan.check_room_to_move(layers)
        if self.rewind is not None:
            self._start = rewound(self.model, network, self.rewind)
        self._dropout = None
        if self.rescale_dropout:
            scope = self.model.distribute_strategy.scope()
            self._dropout = RetrainingDropout(network, scope)
        trains_masked = self.regrow is not False
        self._fit = PruningFit(
            self.model, network, self._layers, self._dropout, trains_masked
        )
        self._fit.begin()
        self._last_progress = self._wanted = None
        self._last_step = None
        self._ended_at = None
        self._reached = 0.0

    def on_progress(self, progress):
        due = self._is_due(progress)
        if due:
            try:
                self._prune(progress)
            except BaseException:
                self._fit.end()  # Keras calls no `on_train_end` then
                raise
        self._last_progress = progress
        self._last_step = _optimizer.steps_of(self.model.optimizer)
        if due:
            self._reached = total_sparsity(self._layers)
            if self._ended_at is None and progress >= self.schedule.end:
                self._ended_at = progress

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        if logs is not None:
            logs["sparsity"] = total_sparsity(self._layers)
            logs["packed_bytes"] = sum(packed_bytes(layer) for layer in self._layers)

    def on_train_end(self, logs=None):
        self._fit.end()
        sparsity = total_sparsity(self._layers)
        if self._ended_at is None:
            wanted = f"{self.schedule.final:.4f}"
            if self.target is not None:
                wanted = "what `target` asks for"
            problem = (
                f"The fit ended at {self.progress:.0%} of its progress, before the "
                f"pruning schedule did at {self.schedule.end:.0%}: the sparsity is "
                f"{sparsity:.4f} instead of {wanted}. Fit on with "
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
        last, end = self._last_progress, self.schedule.end
        if last is None:
            # A fit that goes on has the masks of its last change, and keeps its beat.
            return not 0.0 < progress < end or total_sparsity(self._layers) == 0.0
        if progress >= end:
            return last < end
        if self.frequency is not None:
            steps = _optimizer.steps_of(self.model.optimizer)
            return steps // self.frequency != self._last_step // self.frequency
        return int(progress / UPDATE_EVERY + 1e-9) > int(last / UPDATE_EVERY + 1e-9)

    def _prune(self, progress):
        before = total_sparsity(self._layers)
        wanted = self.schedule(progress)
        # Data need not be looked at again where nothing more is to go, or to come.
        # Where a fit goes on, what was chosen before stays chosen.
        splice = self.regrow is True and (
            self._last_progress is not None or progress == 0.0
        )
        changes = wanted != self._wanted or splice
        if changes or not self._criterion.looks_at_more:
            self._wanted = wanted
            with self._criterion.judging(self._network, self._layers) as scores:
                by_layer = dict(zip(map(id, self._layers), scores, strict=True))
                for part in self._parts:
                    part.prune(progress, splice, by_layer)
        after = total_sparsity(self._layers)
        if self.regrow == "momentum" and progress < self.schedule.end:
            self._exchange(progress)
        if self._dropout is not None:
            self._dropout.update()
        if self.rewind is not None and after > before:
            for variable, value in self._start:
                variable.assign(value)

    def _exchange(self, progress):
        if _optimizer.steps_of(self.model.optimizer) == 0:
            return  # nothing has moved yet
        share = exchanged_share(progress / self.schedule.end)
        for part in self._parts:
            # Frozen layers follow the schedule; they have no momentum to regrow by.
            layers = [layer for layer in part.layers if layer.kernel.trainable]
            if layers:
                kernels = [layer.kernel for layer in layers]
                momenta = _optimizer.momentum_of(self.model.optimizer, kernels)
                between = part.moves_between_layers
                exchange(layers, momenta, share, between_layers=between)
