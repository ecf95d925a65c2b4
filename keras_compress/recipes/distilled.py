"""Compress a network step by step, while its own float version teaches it."""

import dataclasses

import keras_compress as kc
from keras_compress.recipes import lenet_300_100


@dataclasses.dataclass(frozen=True)
class Step:
    """One compression and the fit that goes with it.

    Args:
        config: What `swap` takes: a config of any technique, or a mapping from layers
            to configs.
        epochs: Positive integer.
        callbacks: Callbacks that compress, such as `IterativePruning`.
        rate: Learning rate at the start, > 0.
    """

    config: object
    epochs: int
    callbacks: tuple = ()
    rate: float = 1e-3


def compress(teacher, digits, steps, *, temperature=4.0, alpha=0.9, verbose="auto"):
    """A compressed copy of a trained network, distilled from it at every step.

    Each step swaps what the last one left: pruning, then bits, gives bits under the
    mask that was found. The teacher is the float network throughout.

        pruning = kc.callbacks.IterativePruning(kc.schedules.Cubic(0.8))
        bits = kc.Bitwise(inputs="bipolar", scale=True)
        small = distilled.compress(
            teacher,
            digits,
            [
                distilled.Step(kc.Prune(), 10, (pruning,)),
                distilled.Step(bits, 20, (kc.callbacks.Binarization(),)),
            ],
        )

    Args:
        teacher: The trained model of ten probabilities, left as it is.
        digits: A `Digits`.
        steps: Sequence of `Step`.
        temperature: As of `Distiller`.
        alpha: As of `Distiller`.
        verbose: As of `fit`.

    Returns:
        The compressed model, to be packed.
    """
    student = teacher
    for step in steps:
        student = kc.swap(student, step.config)
        lenet_300_100.train(
            kc.Distiller(student, teacher, temperature=temperature, alpha=alpha),
            digits,
            epochs=step.epochs,
            callbacks=step.callbacks,
            rate=step.rate,
            verbose=verbose,
        )
    return student
