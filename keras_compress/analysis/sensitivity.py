"""`sensitivity`: the error of a model over how far each layer alone is compressed."""

import dataclasses

import keras
import tensorflow as tf
from keras import ops

from keras_compress._matching import matching
from keras_compress._rebuild import check_model, walk
from keras_compress._validation import check_int, check_real, invalid
from keras_compress.analysis.sensitivity_result import (
    BITS,
    SAVED,
    SPARSITY,
    LayerSensitivity,
    Sensitivity,
)
from keras_compress.functional.patterns import max_sparsity
from keras_compress.functional.q_format import QFormat
from keras_compress.layers._fitted import kernel_of
from keras_compress.layers._low_rank_swap import LowRank
from keras_compress.layers.fixed_point import FixedPoint
from keras_compress.layers.pruned import Prune
from keras_compress.report.weight_uses import weight_uses
from keras_compress.swap import swap

# The weights kept halve, more or less, in two steps.
SPARSITIES = (0.25, 0.5, 0.67, 0.8, 0.875, 0.92, 0.95, 0.97, 0.98, 0.99)
FRACTION_BITS = (8, 7, 6, 5, 4, 3, 2, 1)
TECHNIQUES = "a kc.Prune, kc.LowRank or kc.FixedPoint"


def sensitivity(
    model,
    data,
    technique=None,
    *,
    where=None,
    levels=None,
    error=None,
    retrain=0,
    train_data=None,
    batch_size=None,
):
    """Compresses one layer after the other, each alone, and measures what that does.

    The first layer of a network usually is the most sensitive one and big layers behind
    it are the least; what that means for a budget, `Sensitivity.budget` says. The model
    is left as it is.

    Args:
        model: A Sequential or Functional model, compiled.
        data: What to measure errors on: arrays `(x, y)`, or a batched
            `tf.data.Dataset` of such pairs. Not the data that results are reported on.
        technique: A config; what it leaves open is varied. `kc.Prune()`, the default:
            the sparsity. `kc.LowRank(...)`: the share of weights that is saved,
            whatever rank it asks for. `kc.FixedPoint(...)`: the fraction bits of all
            formats that it has.
        where: Which layers, as in `swap`. Defaults to all that the technique supports.
        levels: Sequence of how far to go: numbers in `[0, 1)`, or for fixed point
            integers >= 0. Defaults to ten sparsities up to 0.99, or 8 to 1 bits.
        error: Function of a model to a number, the lower the better. Defaults to the
            fraction of wrong answers, where a metric of the model is an accuracy, else
            to its loss, both from `evaluate`.
        retrain: Integer >= 0, epochs to train at each point with the layer held as it
            was compressed, after which the error is measured again. Every point starts
            from the model's weights.
        train_data: What to retrain on, of the kind of `data`.
        batch_size: Positive integer, for arrays. Defaults to Keras's.

    Returns:
        A `Sensitivity`: prints as a table; `.to_markdown()`, `.plot(path)`,
        `.budget(...)`.

    Raises:
        ValueError: If an argument is out of range, the model is not compiled, or
            nothing matches `where`.

    Example:

    >>> layers = [keras.Input((8,)), keras.layers.Dense(4, name="fc")]
    >>> model = keras.Sequential(layers)
    >>> model.compile("sgd", "mse")
    >>> data = np.ones((16, 8)), np.ones((16, 4))
    >>> found = sensitivity(model, data, levels=[0.5, 0.75])
    >>> found.budget(weights=0.25)
    {'fc': 0.75}

    Reference:
        - [Han et al., 2015](https://arxiv.org/abs/1506.02626), section 5 and figure 6
    """
    check_model("model", model)
    technique = Prune() if technique is None else technique
    if not isinstance(technique, Prune | LowRank | FixedPoint):
        raise invalid("technique", TECHNIQUES, technique)
    if not model.compiled and (error is None or retrain):
        raise ValueError(
            f"`model` must be compiled, with a loss. Received: {model.name!r}, not "
            "compiled"
        )
    check_int("retrain", retrain, minimum=0)
    if retrain and train_data is None:
        raise invalid("train_data", "given with `retrain`", None)
    if data is not None or error is None:
        _check_pair("data", data)
    if train_data is not None:
        _check_pair("train_data", train_data)
    if error is not None and not callable(error):
        raise invalid("error", "a function of a model", error)
    if isinstance(technique, Prune):
        points = _pruned
    else:
        points = _swapped
    levels = _check_levels(levels, technique)
    measured = _Measured(data, error, batch_size)
    baseline = measured(model)
    # To draw a batch of a dataset may take long, and most models need none.
    examples = train_data if data is None else data
    uses = weight_uses(model, lambda: _inputs(examples))
    chosen = matching(model, technique, where)
    found = []
    for path, layer, candidates in points(model, chosen, technique, levels, data):
        errors, retrained, done = [], [], []
        for level, candidate in candidates:
            done.append(level)
            errors.append(measured(candidate))
            if retrain:
                candidate.fit(
                    *_arguments(train_data),
                    epochs=retrain,
                    verbose=0,
                    batch_size=_batch_size(train_data, batch_size),
                )
                retrained.append(measured(candidate))
        weights = kernel_of(layer).size
        found.append(
            LayerSensitivity(
                path=path,
                weights=weights,
                multiply_adds=None
                if uses is None
                else weights * uses.get(id(layer), 0),
                levels=tuple(done),
                errors=tuple(errors),
                retrained=tuple(retrained) if retrain else None,
            )
        )
    title = SPARSITY if isinstance(technique, Prune) else SAVED
    return Sensitivity(
        technique=type(technique).__name__,
        title=BITS if isinstance(technique, FixedPoint) else title,
        measure=measured.name,
        baseline=baseline,
        layers=tuple(found),
        epochs=retrain,
    )


def _pruned(model, chosen, technique, levels, data):
    """One pruned copy, in which one layer after the other is pruned and put back."""
    where = {id(layer) for _, layer, _ in chosen}
    small = swap(model, technique, where=lambda layer: id(layer) in where)
    layers = dict(walk(small))
    optimizer = small.optimizer.variables if small.compiled else []
    start = [(x, ops.convert_to_numpy(x)) for x in [*small.variables, *optimizer]]

    def candidates(layer):
        most = max_sparsity(layer.pattern) + 1e-12  # 1 - 4 / 5 is less than 0.2
        if min(levels) > most:
            expected = f"some up to {most:g}, for the pattern {layer.pattern!r}"
            raise invalid("levels", expected, levels)
        for level in levels:
            if level <= most:
                layer.prune(sparsity=max(level, layer.unit_sparsity))
                yield level, small
                for variable, value in start:
                    variable.assign(value)

    for path, layer, _ in chosen:
        yield path, layer, candidates(layers[path])


def _swapped(model, chosen, technique, levels, data):
    """A copy for each point, in which one layer is swapped."""
    inputs = None
    if getattr(technique, "uses_data", False):
        if isinstance(data, tf.data.Dataset):
            raise invalid("data", f"arrays for {technique!r}", data)
        inputs = data[0]

    def candidates(layer):
        for level in levels:
            config = _at(technique, level)
            where = (lambda one: lambda other: other is one)(layer)
            yield level, swap(model, config, where=where, data=inputs)

    for path, layer, _ in chosen:
        yield path, layer, candidates(layer)


def _at(technique, level):
    """The config at a level."""
    if isinstance(technique, LowRank):
        return dataclasses.replace(
            technique,
            rank=None,
            energy=None,
            max_error=None,
            params=1.0 - level,
            force=True,
        )
    formats = {
        field.name: dataclasses.replace(value, fraction_bits=level)
        for field in dataclasses.fields(technique)
        for value in [getattr(technique, field.name)]
        if isinstance(value, QFormat)
    }
    return dataclasses.replace(technique, **formats)


def _check_levels(levels, technique):
    bits = isinstance(technique, FixedPoint)
    if levels is None:
        return FRACTION_BITS if bits else SPARSITIES
    levels = list(levels)
    if not levels:
        raise invalid("levels", "a sequence of at least one number", levels)
    if bits:
        return [check_int("levels", level, minimum=0) for level in levels]
    for level in levels:
        if check_real("levels", level, minimum=0.0, maximum=1.0) == 1.0:
            raise invalid("levels", "numbers in [0, 1)", levels)
    return sorted(map(float, levels))


class _Measured:
    """The error of a model on the data, and what it is called."""

    def __init__(self, data, error, batch_size):
        self.name = "error"
        self._data, self._error, self._size = data, error, batch_size
        if error is not None:
            self.name = getattr(error, "__name__", "error given")

    def __call__(self, model):
        if self._error is not None:
            return float(self._error(model))
        found = model.evaluate(
            *_arguments(self._data),
            verbose=0,
            return_dict=True,
            batch_size=_batch_size(self._data, self._size),
        )
        for name, value in found.items():
            if _is_accuracy(name, getattr(model, "output_names", ())):
                return 1.0 - float(value)
        self.name = "loss"
        return float(found["loss"])


def _is_accuracy(name, outputs):
    """Whether a metric is an accuracy; the name of its output says nothing of it."""
    if len(outputs) > 1:
        for output in outputs:
            name = name.removeprefix(f"{output}_")
    return name != "loss" and not name.endswith("_loss") and "acc" in name


def _check_pair(name, data):
    pair = isinstance(data, tuple | list) and len(data) == 2
    if not pair and not isinstance(data, tf.data.Dataset):
        raise invalid(name, "arrays (x, y), or a batched tf.data.Dataset", type(data))


def _arguments(data):
    return (data,) if isinstance(data, tf.data.Dataset) else tuple(data)


def _inputs(data):
    """Inputs of some examples, or `None` without data."""
    if isinstance(data, tf.data.Dataset):
        data = next(iter(data), None)
    return keras.utils.unpack_x_y_sample_weight(data)[0]


def _batch_size(data, batch_size):
    return None if isinstance(data, tf.data.Dataset) else batch_size
