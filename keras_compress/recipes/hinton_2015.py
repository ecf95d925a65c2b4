"""Hinton's distillation on handwritten digits: networks, jitter, and how they train."""

import math

import keras
import tensorflow as tf

import keras_compress as kc

MAX_NORM = math.sqrt(15.0)
LOSS = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}


def network(units, pixels=784, *, layers=2, dropout=False, name=None):
    """Fully connected layers of ReLU and ten probabilities, not compiled.

    Args:
        units: Positive integer, of each hidden layer.
        pixels: Positive integer, the number of inputs.
        layers: Positive integer, the number of hidden layers.
        dropout: Whether to drop 20 % of the pixels and half of the units, and to keep
            the squared norm of what each unit reads at 15 at most.
        name: The model's.

    Returns:
        A `keras.Sequential`.

    Reference:
        - [Hinton et al., 2012](https://arxiv.org/abs/1207.0580)
    """
    constraint = keras.constraints.MaxNorm(MAX_NORM) if dropout else None
    stack = [keras.Input((pixels,), name="pixels")]
    if dropout:
        stack.append(keras.layers.Dropout(0.2))
    for _ in range(layers):
        stack.append(
            keras.layers.Dense(
                units,
                activation="relu",
                kernel_initializer="he_normal",
                kernel_constraint=constraint,
            )
        )
        if dropout:
            stack.append(keras.layers.Dropout(0.5))
    stack.append(keras.layers.Dense(10, activation="softmax"))
    return keras.Sequential(stack, name=name)


def batches(x, y, *, batch=100, jitter=0, seed=None):
    """Shuffled batches, images moved by up to `jitter` pixels in either direction.

    Args:
        x: Float32 array `(examples, pixels)` of square images.
        y: Integer array `(examples,)`.
        batch: Positive integer.
        jitter: Integer >= 0.
        seed: Integer for all random numbers.

    Returns:
        A `tf.data.Dataset` of one epoch.
    """
    x, y = tf.constant(x), tf.constant(y)

    def taken(chosen):
        images = tf.gather(x, chosen)
        return _moved(images, jitter, seed) if jitter else images, tf.gather(y, chosen)

    # Numbers are cheaper to shuffle than images are.
    data = tf.data.Dataset.range(len(x)).shuffle(len(x), seed=seed).batch(batch)
    return data.map(taken, num_parallel_calls=tf.data.AUTOTUNE).prefetch(
        tf.data.AUTOTUNE
    )


def train(
    model,
    data,
    *,
    epochs,
    rate=0.1,
    momentum=0.9,
    verbose="auto",
    callbacks=(),
    **settings,
):
    """Trains a model or a `Distiller`, at a rate that falls to zero.

    During the first epoch the rate rises from zero: teachers that are sure of
    themselves give large gradients, of which units of ReLU can die at the start.

    Args:
        model: A Keras model of ten probabilities. It is compiled here.
        data: A `tf.data.Dataset` of known length.
        epochs: Positive integer.
        rate: The highest learning rate, > 0.
        momentum: Share of the last step that is made again, in `[0, 1)`; `None` for
            Adam.
        verbose: As of `fit`.
        callbacks: Sequence of Keras callbacks.
        **settings: For `compile`.

    Returns:
        The `History`.
    """
    epoch = int(data.cardinality())
    decay = keras.optimizers.schedules.CosineDecay(
        *(0.0, max(epochs - 1, 1) * epoch), warmup_target=rate, warmup_steps=epoch
    )
    if momentum is None:
        optimizer = keras.optimizers.Adam(decay)
    else:
        optimizer = keras.optimizers.SGD(decay, momentum=momentum, nesterov=True)
    model.compile(optimizer, **LOSS, **settings)
    return model.fit(
        data, epochs=epochs, verbose=verbose, callbacks=list(callbacks), shuffle=False
    )


def distil(
    student,
    teachers,
    data,
    *,
    epochs,
    temperature=20.0,
    alpha=0.9,
    rate=1e-3,
    momentum=None,
    **settings,
):
    """Trains a student on its teachers, by Hinton's two objectives.

    By Adam, unless told otherwise: the size of the gradients depends on the temperature
    and on how sure the teachers are.

    Args:
        student: The student.
        teachers: As of `Distiller`.
        data: As of `train`.
        epochs: Positive integer.
        temperature: As of `Distiller`.
        alpha: As of `Distiller`.
        rate: As of `train`.
        momentum: As of `train`.
        **settings: For `train`.

    Returns:
        The `Distiller`.
    """
    distiller = kc.Distiller(student, teachers, temperature=temperature, alpha=alpha)
    train(distiller, data, epochs=epochs, rate=rate, momentum=momentum, **settings)
    return distiller


def _moved(images, jitter, seed):
    side = math.isqrt(images.shape[-1])
    count = tf.shape(images)[0]
    padded = tf.pad(
        tf.reshape(images, (count, side, side)),
        [[0, 0], [jitter, jitter], [jitter, jitter]],
    )
    # One draw for both: two with the same seed would be the same numbers.
    starts = tf.random.uniform((2, count, 1), 0, 2 * jitter + 1, tf.int32, seed=seed)
    for start in tf.unstack(starts):  # down, and, the other way round, to the side
        padded = tf.gather(padded, start + tf.range(side), axis=1, batch_dims=1)
        padded = tf.transpose(padded, (0, 2, 1))
    return tf.reshape(padded, (count, side * side))
