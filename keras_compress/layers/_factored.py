"""What layers share that hold factors in place of a kernel."""

import keras

from keras_compress.layers._hosts import KernelHost


class Factored(KernelHost):
    """What layers of factors share: variables, regularisers, no kernel of their own."""

    @property
    def kernel(self):
        """There is none: see `effective_kernel()`, the product of the factors."""
        raise AttributeError(
            f"{type(self).__name__} has no kernel, but factors; "
            "`effective_kernel()` is their product."
        )

    @property
    def factors(self):
        """The variables whose product is the kernel, by name, in order of use."""
        return {name: getattr(self, name) for name in self.factor_names}

    def add_factors(self, shapes, fans):
        """Adds a variable for each name and shape.

        The first is drawn by the layer's initializer, and the others so that they
        keep the variance of what they are given.

        Args:
            shapes: Mapping from names to shapes.
            fans: Mapping from names to how many numbers each output is a sum of.
        """
        self.factor_names = tuple(shapes)
        for number, (name, shape) in enumerate(shapes.items()):
            initializer = self.kernel_initializer
            if number:
                initializer = keras.initializers.RandomNormal(stddev=fans[name] ** -0.5)
            variable = self.add_weight(
                name=name,
                shape=shape,
                initializer=initializer,
                regularizer=self.kernel_regularizer,
                constraint=self.kernel_constraint,
            )
            setattr(self, name, variable)

    def add_bias(self, size):
        """Adds the bias, if the layer uses one."""
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(size,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )

    def check_built(self):
        """Raises where there are no factors yet."""
        if not self.built:
            raise ValueError(
                f"Layer {self.name!r} must be built before it has factors: call it or "
                "its model on data first."
            )

    def get_config(self):
        return {**super().get_config(), "rank": self.kernel_rank}
