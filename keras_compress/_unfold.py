"""Layers of factors as plain layers one after the other, for techniques of these."""

import keras

from keras_compress._rebuild import rebuild, walk
from keras_compress.layers._factor_layers import factor_layers, has_factors


def unfold(model, is_wanted):
    """A copy of a model with some layers of factors as plain layers, or the model.

    Args:
        model: A model that passed `check_model`. It is left as it is.
        is_wanted: Function of a path, a layer of factors and the plain layers that
            would stand for it, that says yes or no.

    Returns:
        The model, and a mapping from the ids of its plain layers to the path and the
        layer that they come from.
    """
    made = {}
    for path, layer in walk(model):
        if has_factors(layer):
            found = factor_layers(layer, layer.name)
            if found is not None and is_wanted(path, layer, found[0]):
                made[id(layer)] = (path, layer, *found)
    if not made:
        return model, {}

    def replace(layer):
        if id(layer) not in made:
            return None
        _, _, layers, fill = made[id(layer)]
        return keras.Sequential(layers, name=layer.name), fill

    sources = {
        id(new): (path, layer)
        for path, layer, layers, _ in made.values()
        for new in layers
    }
    return rebuild(model, replace), sources
