"""A model's `ModelCost`, from one watched forward pass on one example."""

import math

import keras

from keras_compress._copies import all_layers
from keras_compress.functional import cost
from keras_compress.report import layer_costs, model_inputs
from keras_compress.report.recorder import Recorder, count_nonzeros, tensors_of
from keras_compress.report.results import LayerCost, ModelCost

ACTIVATION_BATCH = 128


def model_cost(model, name, inputs, activations, notes):
    """Counts what `model` costs.

    Args:
        model: A built Keras model.
        name: Its title.
        inputs: Structure of arrays, or `None`: what to run the model on.
        activations: Structure of arrays, or `None`: what to count zeros on.
        notes: List that gets a sentence for whatever could not be counted.

    Returns:
        A `ModelCost` without measurements.
    """
    given, argument = inputs, "inputs"
    if given is None and activations is not None:
        given, argument = activations, "activations"
    example = model_inputs.example_inputs(model, given, argument)
    if activations is not None:
        activations = model_inputs.fitted(model, activations, "activations")
    recorder = Recorder(model)
    recorder.run(example)
    zeros, output = {}, (0, 0)
    if activations is not None:
        zeros, output = _count_zeros(model, activations)
    batch = len(keras.tree.flatten(example)[0])
    layers = [
        _layer_cost(trace, zeros.get(key), batch, name, notes)
        for key, trace in recorder.traces.items()
    ]
    layers += _layers_not_called(model, recorder.traces, name, notes)
    return ModelCost(
        name=name,
        layers=tuple(layers),
        parameters=layer_costs.parameter_count(model.weights)
        + layer_costs.parameters_in_words(model),
        memory_bytes=layer_costs.byte_count(model.weights),
        output_elements=output[0],
        output_sparsity=1.0 - output[1] / output[0] if output[0] else None,
    )


def _count_zeros(model, data):
    recorder = Recorder(model, count_zeros=True)
    elements = nonzeros = 0
    for batch in model_inputs.batches_of(data, ACTIVATION_BATCH):
        outputs = recorder.run(batch)
        more = count_nonzeros(tensors_of(outputs))
        elements, nonzeros = elements + more[0], nonzeros + more[1]
    return recorder.traces, (elements, nonzeros)


def _layer_cost(trace, zeros, batch, model_name, notes):
    layer = trace.layer
    own = layer.weights
    if not layer_costs.runs_its_layers_itself(layer):
        own = layer_costs.own_weights(layer)
    if hasattr(layer, "left_as_it_was"):
        notes.append(f"{model_name}: {layer.name!r} was left: {layer.left_as_it_was}.")
    fields = {
        "name": layer.name,
        "kind": type(layer).__name__,
        "calls": sum(repeats for _, _, repeats in trace.calls),
        "parameters": layer_costs.parameter_count(own)
        + layer_costs.parameters_in_words(layer),
        "memory_bytes": layer_costs.byte_count(own),
        "first": trace.first,
    }
    if zeros is not None and zeros.output_elements:
        fields["input_elements"] = zeros.input_elements
        if zeros.input_elements:
            share = zeros.input_nonzeros / zeros.input_elements
            fields["input_sparsity"] = 1.0 - share
        share = zeros.output_nonzeros / zeros.output_elements
        fields["activation_sparsity"] = 1.0 - share
    rule = layer_costs.rule_for(layer)
    if rule is None:
        return _unruled(layer, own, fields, model_name, notes)
    calls = [
        (list(rule(layer, inputs, outputs)), repeats)
        for inputs, outputs, repeats in trace.calls
    ]
    products = calls[0][0]
    work = [(p, repeats) for found, repeats in calls for p in found]
    return LayerCost(
        **fields,
        weights=sum(p.weights for p in products),
        weights_kept=sum(p.kept for p in products),
        multiply_adds=_total(work, "multiply_adds", batch),
        effective_multiply_adds=_total(work, "effective_multiply_adds", batch),
        executed_multiply_adds=_total(work, "executed_multiply_adds", batch),
        energy_pj=_energy(work, batch, model_name, notes),
    )


def _total(work, attribute, batch):
    return sum(getattr(p, attribute) * repeats for p, repeats in work) // batch


def _energy(work, batch, model_name, notes):
    unknown = {p.arithmetic for p, _ in work if p.executed_multiply_adds}
    unknown -= set(cost.MULTIPLY_ADD_PJ)
    if unknown:
        notes.append(
            f"{model_name}: the energy of {', '.join(sorted(unknown))} arithmetic is "
            "not in Horowitz's table."
        )
        return None
    return (
        math.fsum(
            cost.arithmetic_energy(p.executed_multiply_adds * repeats, p.arithmetic)
            for p, repeats in work
            if p.executed_multiply_adds
        )
        / batch
    )


def _unruled(layer, own, fields, model_name, notes):
    if not own:
        return LayerCost(**fields)
    weights, kept = layer_costs.guessed_weights(layer)
    notes.append(
        f"{model_name}: the multiply-adds of {layer.name!r} ({type(layer).__name__}) "
        "are not known and not in the totals; see keras_compress.report.register_cost."
    )
    unknown = ("multiply_adds", "effective_multiply_adds", "executed_multiply_adds")
    return LayerCost(
        **fields,
        **dict.fromkeys(unknown),
        weights=weights,
        weights_kept=kept,
        energy_pj=None,
    )


def _layers_not_called(model, traces, model_name, notes):
    seen = {id(v) for trace in traces.values() for v in trace.layer.weights}
    for layer in all_layers(model):
        own = layer_costs.own_weights(layer)
        if id(layer) in traces or not own or all(id(v) in seen for v in own):
            continue
        weights, kept = layer_costs.guessed_weights(layer)
        notes.append(
            f"{model_name}: {layer.name!r} ({type(layer).__name__}) was not called in "
            "the forward pass."
        )
        yield LayerCost(
            name=layer.name,
            kind=type(layer).__name__,
            calls=0,
            parameters=layer_costs.parameter_count(own),
            memory_bytes=layer_costs.byte_count(own),
            weights=weights,
            weights_kept=kept,
        )
