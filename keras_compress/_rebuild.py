"""A new model like an old one with some layers replaced or left out.

The one walk over a model that `swap` and `pack` share: Sequential and Functional
models, nested to any depth, layers called several times, layers inside wrappers such
as `TimeDistributed`. The source is left as it is.
"""

import functools
import inspect

import keras

from keras_compress._validation import invalid

DROP = object()


def all_layers(model):
    """Every layer inside `model`, at any depth, `model` itself first.

    The public `.layers` does not see into wrappers; this is the one place that uses
    the private method that does.
    """
    return list(model._flatten_layers())


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


def carry_compile(source, target, **changes):
    """Compiles `target` as `source` is, but for `changes`, with state of its own.

    Keras's own way goes through a config, which fails for a custom loss or metric
    that is not registered; here the very objects are at hand.
    """
    if source.compiled:
        settings = source._compile_config.config
        settings = {name: _own(value) for name, value in settings.items()}
        target.compile(**{**settings, **changes})


class _Rebuild:
    def __init__(self, replace):
        self.replace = replace
        self.clones = {}
        self.dropped = set()
        self.replaced = set()
        self.fills = []

    def run(self, model):
        new = self.clone_model(model)
        for fill in self.fills:
            fill()
        return new

    def clone(self, layer):
        """The one clone of this layer, whichever way the walk comes to it."""
        if id(layer) not in self.clones:
            self.clones[id(layer)] = self.make(layer)
        return self.clones[id(layer)]

    def make(self, layer):
        if not isinstance(layer, keras.Layer):  # an operation such as x + y
            return type(layer).from_config(layer.get_config())
        if is_graph(layer):
            return self.clone_model(layer)
        replaced = self.replace(layer)
        if replaced is None:
            wrapper = is_wrapper(layer)
            return self.make_wrapper(layer) if wrapper else self.copy(layer)
        if replaced is DROP:
            new = keras.layers.Identity(name=layer.name)
            self.dropped.add(id(new))
            return new
        new, fill = replaced
        self.replaced.add(id(new))
        self.fills.append(fill)
        return new

    def make_wrapper(self, wrapper):
        inner = self.clone(wrapper.layer)
        if id(inner) in self.dropped:
            return inner
        config = wrapper.get_config()
        config.pop("layer")
        new = type(wrapper)(inner, **config)
        self.fills.append(lambda: _copy_own(wrapper, new))
        return new

    def copy(self, layer):
        try:
            if isinstance(layer, keras.layers.Lambda):
                new = _copy_lambda(layer)
            else:
                new = _from_config(layer)
        except Exception as error:
            raise ValueError(
                f"Layer {layer.name!r} ({type(layer).__name__}) cannot be copied: its "
                "from_config(get_config()) fails. Give it a get_config that returns "
                "all its arguments."
            ) from error
        self.fills.append(lambda: _copy_all(layer, new))
        return new

    def clone_model(self, model):
        if isinstance(model, keras.Sequential):
            new = self.clone_sequential(model)
        else:
            new = keras.models.clone_model(
                _not_compiled(model),
                input_tensors=keras.tree.map_structure(_inputs_of(model), model.input),
                clone_function=self.clone,
                call_function=self.call,
            )
            if type(new) is not type(model):
                raise ValueError(
                    f"Model {model.name!r} is of the class {type(model).__name__}, "
                    "which cannot be rebuilt from inputs and outputs. Pass "
                    "keras.Model(model.inputs, model.outputs) instead."
                )
            if not model.trainable:
                new.trainable = False
        return new

    def clone_sequential(self, model):
        layers = [self.clone(layer) for layer in model.layers]
        kept = [layer for layer in layers if id(layer) not in self.dropped]
        new = keras.Sequential(name=model.name, trainable=model.trainable)
        for tensor in map(_inputs_of(model), model.inputs or []):
            new.add(tensor)
        for layer in kept or layers:
            new.add(layer)
        return new

    def call(self, layer, *args, **kwargs):
        if id(layer) in self.dropped:
            return args[0] if args else next(iter(kwargs.values()))
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


def _inputs_of(model):
    """A function from an input tensor of `model` to a new Input of the same name."""
    sources = [x for x in all_layers(model) if isinstance(x, keras.layers.InputLayer)]

    def new_input(tensor):
        names = [layer.name for layer in sources if layer.output is tensor]
        return keras.Input(
            batch_shape=tensor.shape,
            dtype=tensor.dtype,
            sparse=tensor.sparse,
            name=names[0] if names else None,
        )

    return new_input


def _copy_lambda(layer):
    # Keras refuses to deserialise a function; this one is at hand, not from a file.
    config = layer.get_config()
    for name in ("function", "output_shape", "mask"):
        config.pop(name, None)
    return keras.layers.Lambda(
        layer.function,
        output_shape=layer._output_shape,
        mask=layer.mask,
        **config,
    )


def _copy_own(source, target):
    store = {}
    source.save_own_variables(store)
    target.load_own_variables(store)


def _copy_all(source, target):
    for old, new in zip(all_layers(source), all_layers(target), strict=True):
        _copy_own(old, new)


def _own(value):
    """A copy of what has a state; functions, names and numbers as they are."""
    if isinstance(value, dict):
        return {key: _own(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_own(item) for item in value)
    stateful = keras.optimizers.Optimizer | keras.losses.Loss | keras.metrics.Metric
    if isinstance(value, stateful):
        return _from_config(value)
    return value


def _from_config(thing):
    """A new object of the same class and arguments, whether registered or not."""
    with keras.saving.custom_object_scope({type(thing).__name__: type(thing)}):
        return type(thing).from_config(thing.get_config())
