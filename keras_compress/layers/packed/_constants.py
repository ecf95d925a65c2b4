"""What packed weights without zeros need not store, as tensors."""

import functools

import tensorflow as tf

from keras_compress.functional.signs import PANEL_UNITS


def _made_once(make):
    """The tensor of these numbers, made once where nothing but that is saved by it."""
    once = functools.lru_cache(maxsize=64)(make)
    return lambda *numbers: (once if tf.executing_eagerly() else make)(*numbers)


@_made_once
def no_masks(words):
    """The masks of weights without zeros."""
    return tf.zeros((0, words, PANEL_UNITS), tf.uint32)


@_made_once
def all_kept(units, inputs):
    """What is kept of weights without zeros."""
    return tf.fill([units], inputs)
