"""What a swap config is: a frozen dataclass that turns a Keras layer into ours."""

import dataclasses
from typing import ClassVar

from keras import ops


class SwapConfig:
    """A technique and its settings, for `keras_compress.swap`.

    A subclass is a frozen dataclass of JSON-serialisable fields, named as the
    arguments of the layers it makes, and lists these layers in `layers`.
    """

    layers: ClassVar[dict] = {}

    def supports(self, layer):
        """Whether `layer` can be swapped. Subclasses of Keras layers cannot.

        They may compute anything, and a swap would silently undo it.
        """
        return type(layer) in self.layers

    def convert(self, layer):
        """The layer that takes the place of `layer`, and what fills it once built.

        Args:
            layer: A built layer that this config supports. It is left as it is.

        Returns:
            An unbuilt layer, and a function of no arguments to call after it is built.
        """
        new_class = self.layers[type(layer)]
        arguments = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        new = new_class.from_config({**layer.get_config(), **arguments})
        return new, lambda: copy_variables(layer, new)

    def get_config(self):
        """The arguments, as JSON can hold them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config):
        """The config of these arguments."""
        return cls(**config)


def copy_variables(source, target):
    """Gives `target` the value of every variable of `source` that it has by name."""
    values = {variable.name: variable for variable in source.variables}
    for variable in target.variables:
        if variable.name in values:
            variable.assign(ops.convert_to_tensor(values[variable.name]))
