"""What to match inside the networks: hints and attention transfer, by layers' names."""

import dataclasses

import keras

from keras_compress._validation import check_int, check_real, invalid
from keras_compress.functional import feature_matching as formulas


class Feature:
    """A layer of the student that follows one of a teacher. Use a subclass."""

    def __post_init__(self):
        for side in ("student", "teacher"):
            name = getattr(self, side)
            if not isinstance(name, str) or not name:
                raise invalid(side, "the name of a layer", name)
        check_real("weight", self.weight, minimum=0.0)
        check_int("member", self.member, minimum=0)

    def get_config(self):
        """The arguments, as JSON can hold them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config):
        """The feature of these arguments."""
        return cls(**config)


@keras.saving.register_keras_serializable("keras_compress")
@dataclasses.dataclass(frozen=True)
class Hint(Feature):
    """The output of a student's layer follows that of a teacher's layer.

    Adds `weight * mean((s - f)^2) / 2`. Where the last axes differ, a learned linear
    projection stands between: it belongs to the `Distiller`, not to the student. Maps
    of another height or width are resized, the teacher's to the student's.

    Args:
        student: Name of a layer of the student.
        teacher: Name of a layer of the teacher.
        weight: Number >= 0 that the term is multiplied by.
        member: Which of several teachers, counted from 0.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> Hint("fc1", "hidden3", weight=0.1)
    Hint(student='fc1', teacher='hidden3', weight=0.1, member=0)

    Reference:
        - [Romero et al., 2015](https://arxiv.org/abs/1412.6550), equation 3.
    """

    student: str
    teacher: str
    weight: float = 1.0
    member: int = 0

    projects = True

    def loss(self, teacher, student):
        """A loss an example, from features of the same shape."""
        return formulas.hint(teacher, student)


@keras.saving.register_keras_serializable("keras_compress")
@dataclasses.dataclass(frozen=True)
class AttentionTransfer(Feature):
    """A student's layer looks where a teacher's layer looks.

    Adds `weight * |A_s - A_t|^2 / 2`, where `A` is the map of the features' squares,
    summed over channels, divided by its norm. The numbers of channels may differ; maps
    of another height or width are resized, the teacher's to the student's.

    Args:
        student: Name of a layer of the student, of outputs `(batch, ..., channels)`.
        teacher: Name of a layer of the teacher, likewise.
        weight: Number >= 0 that the term is multiplied by.
        member: Which of several teachers, counted from 0.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> AttentionTransfer("conv2", "conv5", weight=100.0).weight
    100.0

    Reference:
        - [Zagoruyko & Komodakis, 2017](https://arxiv.org/abs/1612.03928), equation 2.
    """

    student: str
    teacher: str
    weight: float = 1.0
    member: int = 0

    projects = False

    def loss(self, teacher, student):
        """A loss an example, from features of the same positions."""
        return formulas.attention_transfer(teacher, student)


def check_features(features):
    """A tuple of features, from one, a sequence, or `None`."""
    if features is None:
        return ()
    several = features if isinstance(features, list | tuple) else [features]
    for one in several:
        if not isinstance(one, Feature):
            raise invalid("features", "Hint, AttentionTransfer, or a list of them", one)
    return tuple(several)
