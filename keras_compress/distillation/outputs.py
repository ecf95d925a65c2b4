"""What a network's outputs are: logits, probabilities or plain values."""

import dataclasses
import inspect

import keras

from keras_compress._validation import invalid
from keras_compress.distillation.graphs import (
    is_graph,
    layers_at_the_end,
    output_structure,
    snake_case,
)
from keras_compress.functional import distillation as formulas

REGRESSIONS = (
    "mean_squared_error",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_logarithmic_error",
    "cosine_similarity",
    "huber",
    "log_cosh",
    "poisson",
    "tversky",
)


@dataclasses.dataclass(frozen=True)
class Output:
    """What one output is.

    Args:
        family: `"categorical"`: classes that exclude each other, along the last axis;
            `"binary"`: units that are each a yes or no; `"values"`: anything else.
        probabilities: Whether it went through softmax or sigmoid.
    """

    family: str | None
    probabilities: bool | None

    def logits(self, tensor):
        """Float32 logits `(..., N)`, of two classes a unit if binary; or the values."""
        if self.family == "categorical" and self.probabilities:
            return formulas.log_probabilities(tensor)
        if self.family == "binary" and self.probabilities:
            tensor = formulas.sigmoid_logits(tensor)
        tensor = keras.ops.cast(tensor, "float32")
        if self.family == "binary":
            return formulas.two_class_logits(tensor)
        return tensor


UNKNOWN = Output(None, None)


def student_outputs(student, losses, count):
    """What each output of a student is, by its last layers and the hard losses.

    Args:
        student: A Keras model.
        losses: List of losses or `None`s, one an output.
        count: How many outputs there are.

    Returns:
        List of `Output`.

    Raises:
        ValueError: If layers and losses disagree, or neither says.
    """
    ends = _ends(student, count)
    found = [
        _agree("student", student, end, loss)
        for end, loss in zip(ends, losses, strict=True)
    ]
    outputs = keras.tree.flatten(student.outputs) if is_graph(student) else ()
    for one, tensor in zip(found, outputs, strict=False):
        if one.family == "categorical" and tensor.shape[-1] == 1:
            raise ValueError(
                "`student` must have several classes, or be compiled with a loss that "
                "says what its outputs are, such as 'mse'. Received: "
                f"{student.name!r}, of which an output has the shape {tensor.shape}"
            )
    return found


def teacher_outputs(teacher, students):
    """What each output of a teacher is, by its last layers and the loss it has.

    Args:
        teacher: A Keras model.
        students: List of `Output`: what the student's are.

    Returns:
        List of `Output`, of the student's families.

    Raises:
        ValueError: If layers and loss disagree, neither says, or a family is another.
    """
    ends = _ends(teacher, len(students))
    loss = teacher.loss if getattr(teacher, "compiled", False) else None
    losses = spread("loss", loss, teacher, len(students))
    found = []
    for end, loss, student in zip(ends, losses, students, strict=True):
        one = _agree("teachers", teacher, end, loss, student.family)
        if one.family != student.family:
            raise ValueError(
                f"`teachers` must have outputs of the student's kind, {student.family}."
                f" Received: {teacher.name!r}, whose outputs are {one.family}"
            )
        found.append(one)
    return found


def outputs_alone(teacher, count):
    """What each output of a teacher is, where no student is at hand.

    Args:
        teacher: A Keras model.
        count: How many outputs there are.

    Returns:
        Pairs of an `Output` and whether the teacher says of which family it is; logits
        or values of which it cannot be told are categorical.
    """
    loss = teacher.loss if getattr(teacher, "compiled", False) else None
    losses = spread("loss", loss, teacher, count)
    return [
        (
            _agree("teachers", teacher, end, one, "categorical"),
            (end.family or loss_says(one).family) is not None,
        )
        for end, one in zip(_ends(teacher, count), losses, strict=True)
    ]


def spread(name, value, model, count):
    """A value for each output, in the order of the flat outputs.

    Args:
        name: The argument's name, for errors.
        value: One value for all, a list, or a mapping from names of outputs.
        model: The model whose outputs they are.
        count: How many outputs there are.

    Returns:
        List of `count` values, `None` for those that are not named.
    """
    if isinstance(value, dict):
        outputs = output_structure(model) if is_graph(model) else None
        if isinstance(outputs, dict):
            names = sorted(outputs)
        else:
            names = list(getattr(model, "output_names", sorted(value)))
        if len(names) != count or not set(value) <= set(names):
            raise invalid(name, f"a mapping from the outputs {names}", value)
        return [value.get(one) for one in names]
    if isinstance(value, list | tuple):
        flat = keras.tree.flatten(value)
        if len(flat) != count:
            raise invalid(name, f"one for each of the {count} outputs", value)
        return flat
    return [value] * count


def loss_says(loss):
    """What a loss expects of an output, as far as that can be seen."""
    if loss is None:
        return UNKNOWN
    if str(loss).lower() in ("crossentropy", "ce"):
        return Output(None, True)
    loss = keras.losses.get(loss)
    name = snake_case(loss)
    from_logits = getattr(loss, "from_logits", None)
    if from_logits is None:
        function = getattr(loss, "fn", loss)
        known = getattr(loss, "_fn_kwargs", {})
        parameters = inspect.signature(function).parameters
        if "from_logits" in parameters:
            default = parameters["from_logits"].default
            from_logits = known.get("from_logits", default)
    probabilities = None if from_logits is None else not from_logits
    if "kl_divergence" in name:
        return Output("categorical", True)
    if name.startswith("binary_"):
        return Output("binary", probabilities)
    if "categorical_" in name and "hinge" not in name:
        return Output("categorical", probabilities)
    if name in REGRESSIONS:
        return Output("values", None)
    return Output(None, probabilities)


def _agree(role, model, end, loss, inherited=None):
    """What an output is, from its end and its loss, or a `ValueError`."""
    said = loss_says(loss)
    where = f"{model.name!r}"
    if end.family is not None and said.family == "values":
        said = UNKNOWN  # a squared error of probabilities is one of probabilities
    for ours, theirs in (
        (end.family, said.family),
        (end.probabilities, said.probabilities),
    ):
        if None not in (ours, theirs) and ours != theirs:
            raise ValueError(
                f"`loss` must fit the end of the {role}. Received: {where}, which ends "
                f"in {_words(end)}, with the loss {_name(loss)} for {_words(said)}"
            )
    if said.family == "values":
        return Output("values", False)
    probabilities = end.probabilities
    if probabilities is None:
        probabilities = said.probabilities
    family = end.family or said.family or inherited
    if family == "values":
        return Output("values", False)
    if family is None and loss is None:
        family = "categorical"
    if None in (family, probabilities):
        raise ValueError(
            f"`{role}` must end in a layer, or be compiled with a loss, that says "
            "whether its outputs are logits or probabilities. Received: "
            f"{where}, which ends in {_words(end)}, with the loss {_name(loss)}. "
            "Compile it with a crossentropy that has `from_logits`, or with a loss of "
            "Keras."
        )
    return Output(family, probabilities)


def _ends(model, count):
    if not is_graph(model):
        return [UNKNOWN] * count
    tensors = keras.tree.flatten(model.outputs)
    return [_end(tensor) for tensor in tensors]


def _end(tensor):
    """What the last layer that computes makes of its output."""
    operation = next(layers_at_the_end(tensor))
    activation = getattr(operation, "activation", None)
    name = getattr(activation, "__name__", snake_case(operation))
    return {
        "softmax": Output("categorical", True),
        "log_softmax": Output("categorical", False),
        "sigmoid": Output("binary", True),
        "linear": Output(None, False),
    }.get(name, UNKNOWN)


def _name(loss):
    return repr(loss) if isinstance(loss, str) or loss is None else snake_case(loss)


def _words(output):
    if output.family == "values":
        return "values"
    kind = {None: "what cannot be seen", True: "probabilities", False: "logits"}
    family = f"{output.family} " if output.family else ""
    return f"{family}{kind[output.probabilities]}"
