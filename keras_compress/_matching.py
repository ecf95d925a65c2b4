"""Which layers of a model a `swap` means, by globs, paths and functions."""

import fnmatch

import keras

from keras_compress._rebuild import walk
from keras_compress._validation import invalid
from keras_compress.layers._config import SwapConfig


def matching(model, config, where=None, unfolded=None):
    """The layers that `swap` would swap with these arguments.

    Args:
        model: A built Sequential or Functional model.
        config: As of `swap`.
        where: As of `swap`.
        unfolded: Mapping from the ids of layers to the path and the layer that they
            stand for, by which they are found, too.

    Returns:
        List of tuples: the layer's path, the layer, and its config.

    Raises:
        ValueError: As of `swap`.
    """
    layers = list(walk(model))
    rules = rules_of(config, where)
    # What names one path means that layer, whatever globs and names come before.
    paths = {path for path, _ in layers} & {wanted for wanted, _ in rules}
    chosen = {}
    for wanted, one in rules:
        matches = [
            (path, layer)
            for path, layer in layers
            if one.supports(layer)
            and (path == wanted or path not in paths)
            and (
                is_wanted(path, layer, wanted)
                or is_wanted(*(unfolded or {}).get(id(layer), ("", None)), wanted)
            )
        ]
        if not matches:
            raise _nothing_matched(model, layers, one, wanted)
        new = [match for match in matches if id(match[1]) not in chosen]
        if not new and isinstance(config, dict):
            raise ValueError(
                f"`config` must give every pattern a layer of its own. Received: all "
                f"that {wanted!r} matches is taken by patterns before it."
            )
        chosen.update({id(layer): (path, layer, one) for path, layer in new})
    return list(chosen.values())


def is_wanted(path, layer, wanted):
    """Whether a layer is meant by a glob, a function, or `None` for all."""
    if wanted is None:
        return True
    if layer is None:
        return False
    if callable(wanted):
        return bool(wanted(layer))
    return any(fnmatch.fnmatchcase(text, wanted) for text in (layer.name, path))


def rules_of(config, where):
    """Pairs of a glob, function or `None`, and the config of what it matches."""
    if isinstance(config, dict):
        if where is not None:
            raise invalid("where", "None when `config` is a mapping", where)
        if not config:
            raise invalid("config", "a mapping with at least one pattern", config)
        pairs = list(config.items())
        for key, _ in pairs:
            if not isinstance(key, str):
                raise invalid("config", "a mapping from globs (str)", config)
    else:
        _check_where(where)
        # Of several names every one must match.
        names = where if isinstance(where, list | tuple | set) else [where]
        pairs = [(name, config) for name in names]
    for _, one in pairs:
        if not isinstance(one, SwapConfig):
            raise invalid(
                "config", "a config such as keras_compress.Prune(), or a mapping", one
            )
    return pairs


def _check_where(where):
    if isinstance(where, list | tuple | set):
        fits = len(where) > 0 and all(isinstance(name, str) for name in where)
    else:
        fits = where is None or isinstance(where, str) or callable(where)
    if not fits or isinstance(where, keras.layers.Layer):
        raise invalid(
            "where", "a glob, a list of globs, or a function of a layer", where
        )


def _nothing_matched(model, layers, config, wanted):
    found = "\n".join(
        f"  {path} ({type(layer).__name__})"
        + ("" if config.supports(layer) else " - not supported")
        for path, layer in layers
    )
    return ValueError(
        f"No layer of {model.name!r} that {type(config).__name__} supports matches "
        f"{'`where`' if wanted is None else repr(wanted)}. Its layers:\n{found}"
    )
