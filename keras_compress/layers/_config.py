"""What a swap config is: a frozen dataclass that turns a Keras layer into ours."""

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import keras
from keras import ops


class SwapConfig:
    """A technique and its settings, for `keras_compress.swap`.

    A subclass is a frozen dataclass of JSON-serialisable fields, named as the
    arguments of the layers it makes, and lists these layers in `layers`.
    """

    layers: ClassVar[dict] = {}
    uses_data: ClassVar[bool] = False
    keeps_kernel: ClassVar[bool] = True
    """Whether its layers compute by a `kernel`, which a wrapper may set."""

    def supports(self, layer):
        """Whether `layer` can be swapped. Subclasses of Keras layers cannot.

        They may compute anything, and a swap would silently undo it.
        """
        return type(layer) in self.layers

    def place(self, layer, place):
        """Which config converts `layer` where it stands, and what else is to change.

        Args:
            layer: A layer that this config supports.
            place: A `Place`.

        Returns:
            Mapping from layers of the model, which need not be supported ones, to
            configs that convert them.
        """
        return {layer: self}

    def convert(self, layer):
        """The layer that takes the place of `layer`, and what fills it once built.

        Args:
            layer: A built layer that this config supports. It is left as it is.

        Returns:
            An unbuilt layer, and a function of no arguments to call after it is built;
            or a `Kept`.
        """
        new_class = self._new_class(layer)
        with swapping(layer, new_class):
            new = new_class(**{**arguments_of(layer), **self.arguments()})
        return new, lambda: copy_variables(layer, new)

    def _new_class(self, layer):
        """The class of the layer that takes the place of `layer`."""
        return self.layers[type(layer)]

    def arguments(self):
        """What the layers that this config makes are told of it."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def get_config(self):
        """The arguments, as JSON can hold them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config):
        """The config of these arguments."""
        return cls(**config)


@dataclasses.dataclass(frozen=True)
class Kept:
    """What `convert` returns of a layer that is better left as it is."""

    reason: str
    """Part of a sentence for people."""


@dataclasses.dataclass(frozen=True)
class Place:
    """What a config may know of a model, beyond the one layer."""

    neighbours: Any
    """`.before(layer)`, `.behind(layer)`: lists of layers; `.is_end(layer)`."""
    config_of: Callable
    """Function of a layer, to the config that was chosen for it, or `None`."""
    lowest: Callable
    """Function of an `InputLayer`, to its lowest number in `data`, or `None`."""


def arguments_of(layer):
    """The arguments that a layer was made with, to make another with the same.

    Where a config would hold a function or an object in writing, this holds the very
    thing, registered or not; but not a layer used as an activation, which has weights.
    """
    arguments = layer.get_config()
    for name in arguments:
        if name.endswith(("activation", "initializer", "regularizer", "constraint")):
            arguments[name] = _without_weights(getattr(layer, name))
    arguments["dtype"] = layer.dtype_policy
    return arguments


def _without_weights(thing):
    if not isinstance(thing, keras.layers.Layer):
        return thing
    with keras.saving.custom_object_scope({type(thing).__name__: type(thing)}):
        return type(thing).from_config(thing.get_config())


@contextlib.contextmanager
def swapping(layer, new_class):
    """Says which layer cannot be swapped, and for what, where the body raises."""
    try:
        yield
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ValueError(
            f"Layer {layer.name!r} ({type(layer).__name__}) cannot be swapped for "
            f"{new_class.__name__}: {error}"
        ) from error


def copy_variables(source, target):
    """Gives `target` the value of every variable of `source` that it has by name."""
    copy_activation(source, target)
    values = {variable.name: variable for variable in source.variables}
    for variable in target.variables:
        if variable.name in values:
            variable.assign(ops.convert_to_tensor(values[variable.name]))


def copy_activation(source, target):
    """Gives an activation that is a layer the variables of the other one's."""
    inner = getattr(source, "activation", None)
    if not isinstance(inner, keras.layers.Layer) or not inner.built:
        return
    if not target.activation.built:
        # It is not, before its first call.
        target.activation.build_from_config(inner.get_build_config())
    copy_variables(inner, target.activation)
