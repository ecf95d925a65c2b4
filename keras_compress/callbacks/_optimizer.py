"""What callbacks read of an optimizer: how often it stepped, where it is heading."""

from keras import ops

from keras_compress._validation import invalid


def innermost(optimizer):
    """The optimizer that counts: of a `LossScaleOptimizer`, it is the inner one."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def steps_of(optimizer):
    """How many updates it has made, an `int`."""
    return int(ops.convert_to_numpy(innermost(optimizer).iterations))


def check_momentum(optimizer):
    """An optimizer that has a momentum for each variable.

    Raises:
        ValueError: If it has none.
    """
    if not _momenta(innermost(optimizer)):
        expected = "False or True with an optimizer that has no momentum, here "
        name = type(innermost(optimizer)).__name__
        raise invalid("regrow", expected + name, "momentum")


def momentum_of(optimizer, variables):
    """List of arrays: the momentum of each of these variables."""
    optimizer = innermost(optimizer)
    momenta = _momenta(optimizer)
    # Keras has no public way from a variable to its slot.
    return [
        ops.convert_to_numpy(momenta[optimizer._get_variable_index(variable)])
        for variable in variables
    ]


def _momenta(optimizer):
    """SGD calls the list `momentums`, Adam and its like `_momentums`."""
    return getattr(optimizer, "momentums", getattr(optimizer, "_momentums", None))
