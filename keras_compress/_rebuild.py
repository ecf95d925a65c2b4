"""A new model like an old one with some layers replaced or left out.

The one walk over a model that `swap` and `pack` share: Sequential and Functional
models, nested to any depth, layers called several times, layers inside wrappers such
as `TimeDistributed`. The source is left as it is.
"""

import functools
import inspect

import keras

from keras_compress._copies import (
    all_layers,
    copy_layer,
    copy_own_state,
    copy_state,
    from_config,
)
from keras_compress._validation import invalid

DROP = object()


def check_model(name, model):
    """`model`, which must be a built Keras model that can be rebuilt."""
    if not isinstance(model, keras.Model):
        raise invalid(name, "a keras.Model", model)
    if not is_graph(model):
        raise ValueError(
            f"`{name}` must be a Sequential or Functional model, whose layers can be "
            f"replaced. Received: {model.name!r}, a subclassed {type(model).__name__}. "
            "Build its graph with keras.Model(inputs, outputs), or use the layers of "
            "keras_compress.layers in its code."
        )
    if not model.built:
        raise ValueError(
            f"`{name}` must be built. Received: {model.name!r}, which has no weights "
            "yet. Give it an Input, or call it on data once."
        )


def walk(model):
    """Yields `(path, layer)` for every layer that `rebuild` can replace.

    The path is the layer's name behind those of the models and wrappers around it,
    joined by slashes. A layer used in several places comes once, where it is met first.
    """
    seen = set()

    def visit(prefix, layer):
        if id(layer) in seen:
            return
        seen.add(id(layer))
        path = prefix + layer.name
        if is_graph(layer):
            for inner in layer.layers:
                yield from visit(path + "/", inner)
        elif is_wrapper(layer):
            yield from visit(path + "/", layer.layer)
        else:
            yield path, layer

    for layer in model.layers:
        yield from visit("", layer)


def rebuild(model, replace):
    """A copy of `model` with new layers and the same weights, not compiled.

    Args:
        model: A model that passed `check_model`.
        replace: Function of a layer, called for every layer that `walk` yields and
            for every wrapper before what is in it. Returns `None` to copy it, `DROP`
            to leave it out, or a new unbuilt layer and a function of no arguments
            that fills it once it is built.

    Returns:
        The new model.

    Raises:
        ValueError: If a layer cannot be copied from its config.
    """
    return _Rebuild(replace).run(model)


class _Rebuild:
    def __init__(self, replace):
        self.replace = replace
        self.clones = {}
        # By the id of the Identity that stands in for it, the layer that was dropped.
        self.dropped = {}
        self.replaced = set()
        self.outputs = set()
        self.fills = []

    def run(self, model):
        new = self.clone_model(model)
        for fill in self.fills:
            fill()
        self.carry_trainable(model)
        return new

    def carry_trainable(self, model):
        """Gives every model and wrapper the flag of its source, and its layers theirs.

        A flag is handed down to what is inside, so the innermost come last.
        """
        found = []

        def visit(depth, layer):
            found.append((depth, layer))
            for inner in _inner_layers(layer):
                visit(depth + 1, inner)

        visit(0, model)
        for _, layer in sorted(found, key=lambda pair: pair[0]):
            new = self.clones.get(id(layer))
            if new is None:  # inside a wrapper that was replaced whole
                continue
            if type(new) is not type(layer) or _inner_layers(layer):
                new.trainable = layer.trainable
                continue
            for old, copy in zip(all_layers(layer), all_layers(new), strict=True):
                copy.trainable = old.trainable

    def clone(self, layer):
        """The one clone of this layer, whichever way the walk comes to it."""
        if id(layer) not in self.clones:
            self.clones[id(layer)] = self.make(layer)
        return self.clones[id(layer)]

    def make(self, layer):
        if not isinstance(layer, keras.Layer):  # an operation such as x + y
            return from_config(layer)
        if is_graph(layer):
            return self.clone_model(layer)
        replaced = self.replace(layer)
        if replaced is None:
            wrapper = is_wrapper(layer)
            return self.make_wrapper(layer) if wrapper else self.copy(layer)
        if replaced is DROP:
            new = keras.layers.Identity(name=layer.name)
            if id(layer) not in self.outputs:
                self.dropped[id(new)] = layer
            return new
        new, fill = replaced
        self.replaced.add(id(new))
        self.fills.append(fill)
        return new

    def make_wrapper(self, wrapper):
        position = len(self.fills)
        inner = self.clone(wrapper.layer)
        if id(inner) in self.dropped:
            return inner
        config = wrapper.get_config()
        config.pop("layer")
        new = type(wrapper)(inner, **config)
        # Some wrappers count the kernel inside as their own: what fills it comes later.
        self.fills.insert(position, lambda: copy_own_state(wrapper, new))
        return new

    def copy(self, layer):
        new = copy_layer(layer)
        self.fills.append(lambda: copy_state(layer, new))
        return new

    def clone_model(self, model):
        # An output has the name of its layer, which a loss may be given by.
        self.outputs.update(id(layer) for layer in _output_layers(model))
        new = self.clone_graph(model)
        if type(new) is not type(model):
            raise ValueError(
                f"Model {model.name!r} is of the class {type(model).__name__}, which "
                "cannot be rebuilt from its layers. Pass "
                "keras.Model(model.inputs, model.outputs) instead."
            )
        self.clones[id(model)] = new
        return new

    def clone_graph(self, model):
        if isinstance(model, keras.Sequential):
            return self.clone_sequential(model)
        return keras.models.clone_model(
            _not_compiled(model),
            input_tensors=keras.tree.map_structure(_inputs_of(model), model.input),
            clone_function=self.clone,
            call_function=self.call,
        )

    def clone_sequential(self, model):
        layers = [self.clone(layer) for layer in model.layers]
        new = keras.Sequential(name=model.name)
        for tensor in map(_inputs_of(model), model.inputs or []):
            new.add(tensor)
        for layer in layers:
            if id(layer) not in self.dropped:
                new.add(layer)
        return new

    def call(self, layer, *args, **kwargs):
        if id(layer) in self.dropped:
            if not kwargs.get("training"):
                return args[0] if args else next(iter(kwargs.values()))
            # Called so as to act in inference, too: it stays.
            source = self.dropped[id(layer)]
            layer = self.clones[id(source), "kept"] = self.clones.get(
                (id(source), "kept")
            ) or self.copy(source)
        if id(layer) in self.replaced:
            # Of the old layer's arguments, such as `training`, what the new one takes.
            takes = inspect.signature(layer.call).parameters
            kwargs = {name: kwargs[name] for name in kwargs if name in takes}
        return layer(*args, **kwargs)


@functools.cache
def _functional_class():
    """The class of Functional models, which Keras does not export."""
    # Named by hand, for a name made up here would shift those of the user's models.
    tensor = keras.Input((1,), name="keras_compress_probe")
    return type(keras.Model(tensor, tensor, name="keras_compress_probe"))


def is_graph(layer):
    """Whether `layer` is a Sequential or a Functional model."""
    return isinstance(layer, keras.Sequential | _functional_class())


def is_wrapper(layer):
    """Whether `layer` wraps one layer that its config holds under "layer"."""
    wrapper = keras.layers.Wrapper
    return (
        isinstance(layer, wrapper)
        and type(layer).from_config.__func__ is wrapper.from_config.__func__
    )


def _not_compiled(model):
    """The same graph without compile settings, which `carry_compile` carries."""
    if not model.compiled:
        return model
    return type(model)(inputs=model.input, outputs=model.output, name=model.name)


def _inner_layers(layer):
    if is_graph(layer):
        return layer.layers
    return [layer.layer] if is_wrapper(layer) else []


def _output_layers(model):
    """The layers whose outputs are those of `model`."""
    if isinstance(model, keras.Sequential):
        return model.layers[-1:]
    outputs = {id(tensor) for tensor in model.outputs}
    found = []
    for layer in model.layers:
        try:
            tensors = keras.tree.flatten(layer.output)
        except (AttributeError, ValueError):  # called more than once
            continue
        if outputs & {id(tensor) for tensor in tensors}:
            found.append(layer)
    return found


def _inputs_of(model):
    """A function from an input tensor of `model` to a new one of the same kind."""
    sources = [x for x in all_layers(model) if isinstance(x, keras.layers.InputLayer)]

    def new_input(tensor):
        for layer in sources:
            if layer.output is tensor:
                # The config of Keras before 3.9 leaves out whether it is optional.
                config = layer.get_config() | {"optional": layer.optional}
                return type(layer).from_config(config).output
        return keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype)

    return new_input
