"""LeNet-300-100: the network, how it is trained, and how it is pruned."""

import math

import keras

import keras_compress as kc


def build(pixels=784, *, dropout=0.2):
    """The network of 300, 100 and 10 units, not compiled.

    Args:
        pixels: Positive integer, the number of inputs.
        dropout: Rate in `[0, 1)` after the first layer; half of it after the second.

    Returns:
        A `keras.Sequential`, its layers with weights named `fc1`, `fc2`, `fc3`.
    """
    return keras.Sequential(
        [
            keras.Input((pixels,), name="pixels"),
            keras.layers.Dense(300, activation="relu", name="fc1"),
            keras.layers.Dropout(dropout, name="drop1"),
            keras.layers.Dense(100, activation="relu", name="fc2"),
            keras.layers.Dropout(dropout / 2, name="drop2"),
            keras.layers.Dense(10, activation="softmax", name="fc3"),
        ],
        name="lenet_300_100",
    )


def train(model, digits, *, epochs, callbacks=(), rate=1e-3, batch=128, verbose="auto"):
    """Trains a model with Adam at a rate that falls to zero along a cosine.

    Args:
        model: A Keras model of ten probabilities. It is compiled here.
        digits: A `Digits`.
        epochs: Positive integer.
        callbacks: Sequence of Keras callbacks.
        rate: Learning rate at the start, > 0.
        batch: Positive integer, examples a step.
        verbose: As of `fit`.

    Returns:
        The `History`.
    """
    steps = epochs * math.ceil(len(digits.x_train) / batch)
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps)),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model.fit(
        digits.x_train,
        digits.y_train,
        batch_size=batch,
        epochs=epochs,
        callbacks=list(callbacks),
        verbose=verbose,
    )


def prune(model, digits, *, epochs, sparsity=0.92, rate=2e-3, verbose="auto"):
    """A pruned copy of a trained model, trained on while it is pruned.

    Weights are compared across layers, so that each layer gives what it can spare; the
    first half of the fit prunes, the second trains what is left. Dropout shrinks with
    the share of connections that stay: a network with fewer needs less of it.

    Args:
        model: The trained model, left as it is.
        digits: A `Digits`.
        epochs: Positive integer.
        sparsity: Fraction of zeros at the end, in `[0, 1]`.
        rate: Learning rate at the start, > 0.
        verbose: As of `fit`.

    Returns:
        The pruned model.

    Reference:
        - [Han et al., 2015](https://arxiv.org/abs/1506.02626), section 3.2, dropout.
    """
    small = kc.swap(model, kc.Prune())
    for layer in small.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate *= math.sqrt(1.0 - sparsity)
    pruning = kc.callbacks.IterativePruning(
        kc.schedules.Cubic(sparsity, end=0.5), scope="global"
    )
    train(small, digits, epochs=epochs, callbacks=[pruning], rate=rate, verbose=verbose)
    return small


def test_error(model, digits):
    """Per cent of the test images that a model gets wrong.

    Args:
        model: A Keras model of ten scores.
        digits: A `Digits`.
    """
    scores = model.predict(digits.x_test, batch_size=1000, verbose=0)
    return 100.0 * float((scores.argmax(axis=-1) != digits.y_test).mean())
