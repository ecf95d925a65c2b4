"""`correct_class_bias`: for classes that the transfer set lacked or had too much of."""

import dataclasses

import numpy as np
from keras import ops

from keras_compress._rebuild import check_model, rebuild
from keras_compress._validation import invalid
from keras_compress.distillation.graphs import layers_at_the_end
from keras_compress.distillation.outputs import outputs_alone
from keras_compress.functional import class_bias as formulas

SWEEPS = 5
CLOSE = 0.01  # of probabilities, which short floats round


@dataclasses.dataclass(frozen=True)
class ClassBias:
    """What `correct_class_bias` found.

    Args:
        model: A copy of the model with the shifted bias.
        classes: Tuple of the classes.
        shifts: Tuple of floats, what was added to the bias of each.
        errors_before: How many of the examples were wrong.
        errors_after: How many are wrong with the shift.
        examples: How many examples there were.
    """

    model: object
    classes: tuple
    shifts: tuple
    errors_before: int
    errors_after: int
    examples: int


def correct_class_bias(model, x, y, classes, *, shared=True, batch_size=256):
    """Finds what to add to the biases of some classes, and adds it in a copy.

    A student learns classes that it has never seen from the soft targets alone, all but
    how frequent they are: it holds them for too rare, or the only ones it saw for too
    frequent. One number repairs that. It is searched exactly: the number of errors is
    looked at for every shift that makes a difference. (Shifts of their own for several
    classes are searched one after another, which may miss the best.)

    Choose by examples that neither trained the student nor will judge it, such as a
    part of the training data held back. They must have the classes in question.

    Args:
        model: A Sequential or Functional model with one output of classes, whose last
            layer has a bias. It is left as it is.
        x: Inputs of the held-out examples, as `predict` takes them.
        y: Integer array `(examples,)`, their classes.
        classes: List of integers, the classes to shift.
        shared: Whether all get one shift, as in the paper. If not, each its own.
        batch_size: Positive integer.

    Returns:
        A `ClassBias`.

    Raises:
        ValueError: If the model's last layer has no bias or does not add it as it is
            to its outputs (bitwise and fixed-point layers round it, and so do packed
            ones: correct the model before), its outputs are not classes that exclude
            each other, or an argument is out of range.

    Example:

    >>> dense = keras.layers.Dense(3, kernel_initializer="identity")
    >>> model = keras.Sequential([keras.Input((3,)), dense])
    >>> x = np.array([[5.0, 0, 0], [0, 5, 0], [5, 0, 3], [5, 0, 4]], "float32")
    >>> found = correct_class_bias(model, x, np.array([0, 1, 2, 2]), [2])
    >>> found.shifts, found.errors_before, found.errors_after
    ((3.5,), 2, 0)

    Reference:
        - [Hinton et al., 2015](https://arxiv.org/abs/1503.02531), section 3.
    """
    check_model("model", model)
    if len(model.outputs) != 1:
        raise invalid("model", "a model of one output", f"{len(model.outputs)} outputs")
    units = model.outputs[0].shape[-1]
    if len(model.outputs[0].shape) != 2 or units < 2:
        raise invalid("model", "a model of outputs (batch, classes)", model.outputs)
    y = np.asarray(y)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1 or y.dtype.kind not in "iu" or not y.size:
        raise invalid("y", "an integer array (examples,)", f"{y.dtype} {y.shape}")
    if y.min() < 0 or y.max() >= units:
        raise invalid("y", f"classes in [0, {units})", f"{y.min()} to {y.max()}")
    classes = _check_classes(classes, units)
    _biased_layer(model)
    ((output, _),) = outputs_alone(model, 1)
    if output.family != "categorical":
        raise invalid("model", "a model of classes, such as softmax gives", output)
    raw = model.predict(x, batch_size=batch_size, verbose=0)
    if len(raw) != len(y):
        raise invalid("y", f"{len(raw)} classes, as many as inputs", len(y))
    logits = ops.convert_to_numpy(output.logits(raw)).astype("float64")
    groups = [list(classes)] if shared else [[one] for one in classes]
    shifts = _search(logits, y, groups)
    new = rebuild(model, lambda layer: None)
    bias = _biased_layer(new).bias
    values = ops.convert_to_numpy(bias).copy()
    values[list(classes)] += shifts[list(classes)].astype(values.dtype)
    bias.assign(values)
    shifted = logits + shifts
    after = new.predict(x, batch_size=batch_size, verbose=0)
    _check_shifted(new, ops.convert_to_numpy(output.logits(after)), shifted)
    return ClassBias(
        model=new,
        classes=classes,
        shifts=tuple(float(shifts[one]) for one in classes),
        errors_before=_errors(logits, y),
        errors_after=_errors(shifted, y),
        examples=len(y),
    )


def _check_shifted(model, found, expected):
    """Raises where a bias did something else than to shift the logits."""
    found, expected = (ops.convert_to_numpy(ops.softmax(x)) for x in (found, expected))
    if not np.abs(found - expected).max() <= CLOSE:
        layer = _biased_layer(model)
        raise ValueError(
            "`model` must end in a layer that adds its bias to its outputs as it is; "
            f"correct it before it is swapped or packed. Received: {model.name!r}, "
            f"which ends in {layer.name!r} ({type(layer).__name__})"
        )


def _search(logits, y, groups):
    """A shift for each class, one number a group.

    For one group it is the best there is. For several they are taken in turns, from
    several starts: from none, and from the shift that is best for all alike.
    """
    nothing = np.zeros(logits.shape[1])
    if len(groups) == 1:
        return _improved(logits, y, groups, nothing)
    alike = _improved(logits, y, [[one for group in groups for one in group]], nothing)
    found = [
        _descended(logits, y, order, start)
        for start in (nothing, alike)
        for order in (groups, groups[::-1])
    ]
    return min(found, key=lambda shifts: _errors(logits + shifts, y))


def _descended(logits, y, groups, shifts):
    for _ in range(SWEEPS):
        before, shifts = shifts, _improved(logits, y, groups, shifts)
        if (shifts == before).all():
            break
    return shifts


def _improved(logits, y, groups, shifts):
    """Shifts after each group, in turn, was given its best one."""
    shifts = shifts.copy()
    for group in map(list, groups):
        shifted = logits + shifts
        inside = np.zeros(logits.shape[1], bool)
        inside[group] = True
        best_in = np.where(inside, shifted, -np.inf)
        best_out = np.where(inside, -np.inf, shifted)
        gain = (best_in.argmax(1) == y).astype(int) - (best_out.argmax(1) == y)
        margins = best_out.max(1) - best_in.max(1)
        shifts[group] += formulas.best_shift(margins, gain)
    return shifts


def _errors(logits, y):
    return int((logits.argmax(axis=1) != y).sum())


def _check_classes(classes, units):
    expected = f"a list of different classes in [0, {units}), not of all"
    classes = np.asarray(classes)
    if classes.ndim != 1 or classes.dtype.kind not in "iu":
        raise invalid("classes", expected, classes.tolist())
    found = tuple(classes.tolist())
    outside = not found or min(found) < 0 or max(found) >= units
    if outside or len(set(found)) != len(found) or len(found) == units:
        raise invalid("classes", expected, list(found))
    return found


def _biased_layer(model):
    """The last layer with weights, which must have a bias, one number a class."""
    for layer in layers_at_the_end(model.outputs[0]):
        bias = getattr(layer, "bias", None)
        if bias is not None and bias.shape == (model.outputs[0].shape[-1],):
            return layer
    raise ValueError(
        "`model` must end in a layer with a bias for each class. Received: "
        f"{model.name!r}, which ends in {layer.name!r} ({type(layer).__name__})"
    )
