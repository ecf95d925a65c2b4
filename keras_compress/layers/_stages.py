"""The three stages of a bitwise network, held in a variable that a callback moves."""

from keras import ops

from keras_compress._validation import check_choice
from keras_compress.functional.sign import STRAIGHT_THROUGH, sign

FLOAT, TANH, SIGN = 0, 1, 2


class Staged:
    """A layer that computes with real numbers, with tanh, or with signs.

    The stage is a variable, so that a function traced in one stage computes rightly in
    the next, and a file of the model knows it.
    """

    def add_stage(self):
        """Adds the variable, to be called in `build`."""
        self.stage = self.add_weight(
            name="stage",
            shape=(),
            dtype="int32",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
        )

    @property
    def stage_number(self):
        """The stage as a Python integer: 0, 1 or 2."""
        self.check_built()
        return int(ops.convert_to_numpy(self.stage))

    def by_sign(self, bitwise, real):
        """The result of the first function in stage 2, of the second before."""
        return ops.cond(ops.equal(self.stage, SIGN), bitwise, real)

    def staged_units(self, sums):
        """`sign(sums)` in stage 2, `tanh(sums)` before."""
        return self.by_sign(lambda: sign(sums, self.surrogate), lambda: ops.tanh(sums))

    def check_built(self):
        """Raises if there are no variables yet."""
        if not self.built:
            raise ValueError(
                f"Layer {self.name!r} must be built before it has a stage: call it or "
                "its model on data first."
            )


def check_straight_through(straight_through, gradient):
    """The gradient of the sign: as named, else the one that goes with `gradient`."""
    if straight_through is None:
        return "tanh" if gradient == "lecture" else "plain"
    choices = tuple(STRAIGHT_THROUGH)
    return check_choice("straight_through", straight_through, choices)


def is_staged(layer):
    """Whether `layer` has a stage."""
    return isinstance(layer, Staged)
