"""`mix_inputs`: a transfer set of inputs that are never the same twice."""

import keras
import tensorflow as tf

from keras_compress._validation import check_real, invalid
from keras_compress.distillation.cached_batch import CachedBatch, inputs_of


def mix_inputs(dataset, *, dropped=0.0, seed=None):
    """Data for a student and its teachers, of each input a mixture with another one.

    `(1 - s) * x + s * x'`, with `x'` the example before in the batch and `s` drawn
    uniformly between 0 and 1/2 for each; then some numbers are set to 0. The teachers
    are asked about just that, so a student learns what they compute, and not only what
    they say of the training set: it makes up for classes and examples that a transfer
    set lacks, more so the longer training goes on. Labels and weights stay those of
    `x`; labels alone teach little of mixtures, so let the soft term have most of the
    weight.

    Teachers run in `fit`: what they say of data that differ from pass to pass cannot be
    kept by `cache_logits`, which refuses them.

    Args:
        dataset: A batched, shuffled `tf.data.Dataset` of inputs, or of tuples of
            inputs, labels and sample weights. Inputs are floating-point tensors, or
            nested structures of them, which are mixed with the same shares.
        dropped: Share of the numbers that are set to 0, in `[0, 1]`. For teachers that
            were trained with dropout of their inputs.
        seed: Integer for all draws. They differ from pass to pass with it, too.

    Returns:
        A `tf.data.Dataset` of the same batches.

    Raises:
        ValueError: If `dataset` is none, its inputs are not floating-point tensors or
            those of `cache_logits`, or `dropped` is out of range.

    Example:

    >>> x, y = np.random.rand(64, 8).astype("float32"), np.random.randint(3, size=64)
    >>> data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(64).batch(16)
    >>> data = mix_inputs(data, dropped=0.1)
    >>> softmax = keras.layers.Dense(3, activation="softmax")
    >>> teacher = keras.Sequential([keras.Input((8,)), softmax])
    >>> distiller = kc.Distiller(keras.models.clone_model(teacher), teacher)
    >>> distiller.compile("adam", "sparse_categorical_crossentropy")
    >>> history = distiller.fit(data, epochs=2, verbose=0)

    References:
        - [Beyer et al., 2022](https://arxiv.org/abs/2106.05237), section 3: teachers
          and students that see the same mixed inputs, and long training.
        - [Zhang et al., 2018](https://arxiv.org/abs/1710.09412), equation 1.
    """
    check_real("dropped", dropped, minimum=0.0, maximum=1.0)
    if not isinstance(dataset, tf.data.Dataset):
        raise invalid("dataset", "a batched tf.data.Dataset", type(dataset).__name__)
    specs = inputs_of(dataset.element_spec)
    if isinstance(specs, CachedBatch):
        raise invalid("dataset", "one of inputs alone", "one of `cache_logits`")
    for spec in keras.tree.flatten(specs):
        is_dense = isinstance(spec, tf.TensorSpec)
        if not is_dense or not spec.dtype.is_floating or not spec.shape.rank:
            raise invalid("dataset", "one of batches of floating-point inputs", spec)

    def mixed(element, seed):
        inputs = inputs_of(element)
        flat = keras.tree.flatten(inputs)
        seeds = tf.unstack(
            tf.random.experimental.stateless_split(seed, 1 + len(flat)), 1 + len(flat)
        )
        count = tf.shape(flat[0])[0]
        shares = tf.random.stateless_uniform([count], seeds[0], 0.0, 0.5)
        changed = [
            _dropped(_mixed(tensor, shares), dropped, one)
            for tensor, one in zip(flat, seeds[1:], strict=True)
        ]
        inputs = keras.tree.pack_sequence_as(inputs, changed)
        return (inputs, *element[1:]) if isinstance(element, tuple) else inputs

    draws = tf.data.Dataset.random(seed, rerandomize_each_iteration=True).batch(2)
    return tf.data.Dataset.zip((dataset, draws)).map(
        mixed, num_parallel_calls=tf.data.AUTOTUNE
    )


def _mixed(tensor, shares):
    ones = [1] * (len(tensor.shape) - 1)
    shares = tf.cast(tf.reshape(shares, (-1, *ones)), tensor.dtype)
    return tensor + shares * (tf.roll(tensor, 1, axis=0) - tensor)


def _dropped(tensor, share, seed):
    if not share:
        return tensor
    draws = tf.random.stateless_uniform(tf.shape(tensor), seed)
    return tf.where(draws >= share, tensor, tf.zeros((), tensor.dtype))
