"""What pruning with a rewind brings back."""

import keras
from keras import ops

from keras_compress._copies import all_layers

REWINDS = ("weights", "learning_rate")


def rewound(model, network, rewind):
    """What goes back to what it is now, later: pairs of a variable and its value.

    Args:
        model: The model that is fitted, with its optimizer.
        network: The one that is pruned: itself, or the student of a `Distiller`.
        rewind: One of `REWINDS`.
    """
    variables = list(model.optimizer.variables)
    if rewind == "weights":
        variables += model.trainable_variables
        # Moving averages train, too, though by no gradient.
        variables += [
            variable
            for layer in all_layers(network)
            if isinstance(layer, keras.layers.BatchNormalization)
            for variable in layer.non_trainable_variables
        ]
    return [(variable, ops.convert_to_numpy(variable)) for variable in variables]
