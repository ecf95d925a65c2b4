"""Compress a network while its own float version teaches it."""

import keras_compress as kc
from keras_compress.recipes import lenet_300_100


def compress(
    teacher,
    digits,
    config,
    *,
    epochs,
    callbacks=(),
    temperature=4.0,
    alpha=0.9,
    rate=1e-3,
    verbose="auto",
):
    """A compressed copy of a trained network, distilled from it.

    Techniques combine by a mapping: `{"fc1": kc.Prune(), "fc2": ...}`, or by swapping
    what was swapped before.

    Args:
        teacher: The trained model of ten probabilities, left as it is.
        digits: A `Digits`.
        config: What `swap` takes: a config or a mapping.
        epochs: Positive integer.
        callbacks: Callbacks that compress, such as `IterativePruning`.
        temperature: As of `Distiller`.
        alpha: As of `Distiller`.
        rate: Learning rate at the start, > 0.
        verbose: As of `fit`.

    Returns:
        The compressed model, to be packed.
    """
    distiller = kc.Distiller(
        kc.swap(teacher, config), teacher, temperature=temperature, alpha=alpha
    )
    lenet_300_100.train(
        distiller,
        digits,
        epochs=epochs,
        callbacks=callbacks,
        rate=rate,
        verbose=verbose,
    )
    return distiller.student
