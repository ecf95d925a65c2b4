"""Copies of layers, of what they have learnt, and of compile settings."""

import tempfile
import warnings

import keras


def all_layers(model):
    """Every layer inside `model`, at any depth, `model` itself first.

    The public `.layers` does not see into wrappers; this is the one place that uses
    the private method that does.
    """
    return list(model._flatten_layers())


def copy_layer(layer):
    """An unbuilt layer of the same class and arguments, registered or not.

    Raises:
        ValueError: If `layer` cannot be made again from its config.
    """
    try:
        if isinstance(layer, keras.layers.Lambda):
            return _copy_lambda(layer)
        return from_config(layer)
    except Exception as error:
        raise ValueError(
            f"Layer {layer.name!r} ({type(layer).__name__}) cannot be copied: its "
            "from_config(get_config()) fails. Give it a get_config that returns all "
            "its arguments."
        ) from error


def from_config(thing):
    """A new object of the same class and arguments, whether registered or not."""
    with keras.saving.custom_object_scope({type(thing).__name__: type(thing)}):
        return type(thing).from_config(thing.get_config())


def copy_state(source, target):
    """Gives `target`, built, all that Keras would save of `source`."""
    for old, new in zip(all_layers(source), all_layers(target), strict=True):
        copy_own_state(old, new)


def copy_own_state(source, target):
    """Gives `target` what Keras would save of `source` but not of its layers."""
    store = {}
    source.save_own_variables(store)
    target.load_own_variables(store)
    if hasattr(source, "save_assets"):  # the vocabulary of a lookup
        with tempfile.TemporaryDirectory() as folder:
            source.save_assets(folder)
            target.load_assets(folder)
    if hasattr(source, "set_vocabulary"):
        # Keras saves none where one was an argument, even if another was set later.
        words = source.get_vocabulary(include_special_tokens=False)
        if words != target.get_vocabulary(include_special_tokens=False):
            target.set_vocabulary(words)


def carry_compile(source, target, **changes):
    """Compiles `target` as `source` is, but for `changes`, with state of its own.

    Keras's own way goes through a config, which fails for a custom loss or metric
    that is not registered; here the very objects are at hand. An optimizer or a metric
    that cannot be copied is warned about, and `target` is left without settings.
    """
    if not source.compiled:
        return
    settings = source._compile_config.config
    try:
        settings = {name: _own(value) for name, value in settings.items()}
    except (TypeError, ValueError, NotImplementedError) as error:
        warnings.warn(
            f"The compile settings of {source.name!r} are not carried over, for one of "
            f"them cannot be copied: {str(error).splitlines()[0]} Compile the new "
            "model yourself.",
            stacklevel=3,
        )
        return
    target.compile(**{**settings, **changes})
    # As Keras does after cloning; a file of the model then loads without a warning.
    target.optimizer.build(target.trainable_variables)


def _own(value):
    """A copy of what has a state; losses, functions and names as they are."""
    if isinstance(value, dict):
        return {key: _own(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_own(item) for item in value)
    if isinstance(value, keras.optimizers.Optimizer | keras.metrics.Metric):
        return from_config(value)
    return value


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
