"""What the graph of a model calls, and what its outputs come from."""

import keras

PASSING = (
    keras.layers.Reshape,
    keras.layers.Flatten,
    keras.layers.Dropout,
    keras.layers.Identity,
)


def is_graph(model):
    """Whether the layers of a model, and what its outputs come from, can be seen."""
    return bool(getattr(model, "outputs", None))


def output_structure(model):
    """The symbolic outputs of a graph, in the structure that a call returns."""
    if isinstance(model, keras.Sequential):
        return model.outputs[0]
    return model.output


def calls_of(model):
    """What each layer gives in the graph of a model, a list of tensors a call.

    A layer may have been called elsewhere, too, and there before.
    """
    calls, seen = {}, set()
    tensors = list(keras.tree.flatten(model.outputs))
    while tensors:
        operation, index, _ = tensors.pop()._keras_history
        node = operation._inbound_nodes[index]
        if id(node) not in seen:
            seen.add(id(node))
            calls.setdefault(operation, []).append(node.output_tensors)
            tensors.extend(node.input_tensors)
    return calls


def layers_at_the_end(tensor):
    """The layers that an output comes from, the last first: activations, then one more.

    What only passes values on is left out.
    """
    while True:
        operation, node, index = tensor._keras_history
        # Of this call: a shared layer has others, a wrapped one none of its own.
        given = operation._inbound_nodes[node].input_tensors
        while isinstance(operation, keras.layers.Wrapper):
            operation, index = operation.layer, 0
        if isinstance(operation, keras.Model) and is_graph(operation):
            tensor = keras.tree.flatten(operation.outputs)[index]
            continue
        passes = isinstance(operation, PASSING) or _is_linear(operation)
        if not passes or given[0].shape[-1:] != tensor.shape[-1:]:
            yield operation
            if not _is_activation(operation):
                return
        tensor = given[0]


def _is_activation(operation):
    kinds = keras.layers.Activation | keras.layers.Softmax
    return isinstance(operation, kinds) or snake_case(operation) in (
        "softmax",
        "sigmoid",
    )


def _is_linear(operation):
    linear = keras.activations.linear
    return _is_activation(operation) and getattr(operation, "activation", 0) is linear


def snake_case(thing):
    """The name of a function, or that of a class as Keras writes it for functions."""
    name = getattr(thing, "__name__", None) or type(thing).__name__
    letters = [f"_{c.lower()}" if c.isupper() else c for c in name]
    return "".join(letters).lstrip("_").replace("k_l_", "kl_")
