"""How often a weight of each layer is multiplied for one example."""

from keras_compress.report.layer_costs import rule_for
from keras_compress.report.model_inputs import example_inputs
from keras_compress.report.recorder import Recorder


def weight_uses(model):
    """By the ids of layers, how often a weight is used for one example.

    Args:
        model: A built Keras model. It runs once, on zeros, and is left as it is.

    Returns:
        Dict from ids to integers, of layers whose cost is known.
    """
    recorder = Recorder(model)
    recorder.run(example_inputs(model))
    found = {}
    for key, trace in recorder.traces.items():
        rule = rule_for(trace.layer)
        if rule is None or not trace.layer.weights:
            continue
        products = [
            (p.multiply_adds * repeats, p.weights)
            for inputs, outputs, repeats in trace.calls
            for p in rule(trace.layer, inputs, outputs)
        ]
        weights = max((size for _, size in products), default=0)
        if weights:
            found[key] = sum(work for work, _ in products) // weights
    return found
