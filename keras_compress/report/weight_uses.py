"""How often a weight of each layer is multiplied for one example."""

import keras
import numpy as np

from keras_compress.report.layer_costs import rule_for
from keras_compress.report.model_inputs import example_inputs, input_spec
from keras_compress.report.recorder import Recorder


def weight_uses(model, inputs=None):
    """By the ids of layers, how often a weight of the kernel is used for one example.

    A kernel that is kept as factors counts as the kernel that they stand for, used
    once at every position of the outputs.

    Args:
        model: A built Keras model. It runs once, on zeros or the first of `inputs`, and
            is left as it is.
        inputs: Structure of arrays as the model takes them, a function that gives it,
            or `None`. Looked at only where the shapes of the model's inputs are not
            known.

    Returns:
        Dict from ids to integers, of layers whose cost is known; `None` where they
        depend on `inputs` that were not given.
    """
    if _runs_on_zeros(model):
        example = example_inputs(model)
    else:
        inputs = inputs() if callable(inputs) else inputs
        if inputs is None:
            return None
        spec = keras.tree.flatten(input_spec(model))
        batch = 1 if spec[0] is None else (spec[0].shape[0] or 1)
        example = keras.tree.map_structure(lambda x: np.asarray(x)[:batch], inputs)
    batch = len(keras.tree.flatten(example)[0])
    recorder = Recorder(model)
    recorder.run(example)
    found = {}
    for key, trace in recorder.traces.items():
        rule = rule_for(trace.layer)
        if rule is None or not trace.layer.weights:
            continue
        uses = sum(
            _uses(rule(trace.layer, shape, outputs)) * repeats
            for shape, outputs, repeats in trace.calls
        )
        found[key] = uses // batch
    return found


def _uses(products):
    """How often one call uses the weights; of factors, those that are used least."""
    # Factors in front of a stride are used more often than there are outputs.
    uses = [p.multiply_adds // p.weights for p in products if p.weights]
    return min((count for count in uses if count), default=0)


def _runs_on_zeros(model):
    """Whether the shapes of all inputs are known, and numbers go in."""
    spec = input_spec(model)
    return spec is not None and all(
        x.dtype != "string" and None not in x.shape[1:]
        for x in keras.tree.flatten(spec)
    )
