"""What layers on a native op have in common: arrays as variables, nothing to train."""

import keras


class NativeLayer(keras.layers.Layer):
    """An inference layer whose variables are the arrays that a native op reads."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.trainable = False
        # Native ops have no XLA kernel.
        self.supports_jit = False

    def _add(self, name, shape, dtype="float32"):
        return self.add_weight(
            name=name,
            shape=shape,
            dtype=dtype,
            initializer="zeros",
            trainable=False,
            autocast=False,
        )

    def _check_built(self, what="a kernel"):
        if not self.built:
            raise ValueError(
                f"Layer {self.name!r} must be built before it has {what}: call it on "
                "data once, or call build(input_shape)."
            )
