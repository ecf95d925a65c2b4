"""`WeightClip`: a constraint that keeps ghosts within reach of the other sign."""

import keras
from keras import ops

from keras_compress._validation import check_real


@keras.saving.register_keras_serializable("keras_compress")
class WeightClip(keras.constraints.Constraint):
    """Clips weights to `[-limit, limit]` after every update.

    The forward pass of a bitwise layer sees no difference between a ghost of 1 and one
    of 100; but the second one would need a hundred times as long to change its sign.

    Args:
        limit: Number > 0.

    Raises:
        ValueError: If `limit` is out of range.

    Example:

    >>> print(WeightClip()(np.array([-3.0, 0.5])).numpy())
    [-1.   0.5]

    Reference:
        - [Courbariaux et al., 2015](https://arxiv.org/abs/1511.00363), section 2.4
    """

    def __init__(self, limit=1.0):
        self.limit = check_real("limit", limit, above=0.0)

    def __call__(self, w):
        return ops.clip(w, -self.limit, self.limit)

    def get_config(self):
        return {"limit": self.limit}
