"""Sounds as spectra of short frames, masks of what is loudest in them, and back.

16,000 samples a second, frames of 1024 under a Hann window, one every 256: 513 bins.
"""

import numpy as np
import tensorflow as tf

from keras_compress._validation import invalid

RATE, FRAME, HOP = 16000, 1024, 256
BINS = FRAME // 2 + 1
WINDOW = (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(FRAME) / FRAME)).astype("float32")
# Below this, a magnitude counts as silence: 80 dB under that of a unit sine.
SILENCE = 0.02


def spectra(waves):
    """Short-time Fourier transforms.

    Zeros are put around the samples, so that each is in as many frames as any other.

    Args:
        waves: Float array or tensor `(..., samples)`.

    Returns:
        Complex64 array `(..., frames, 513)`.

    Example:

    >>> spectra(np.ones(1000)).shape
    (7, 513)
    """
    waves = np.asarray(waves, "float32")
    samples = waves.shape[-1] + FRAME - HOP
    frames = -(-samples // HOP)
    around = [(0, 0)] * (waves.ndim - 1) + [(FRAME - HOP, 2 * FRAME)]
    pieces = np.lib.stride_tricks.sliding_window_view(
        np.pad(waves, around), FRAME, axis=-1
    )
    found = np.fft.rfft(pieces[..., : frames * HOP : HOP, :] * WINDOW)
    return found.astype("complex64")


def waves(spectra, samples):
    """The inverse of `spectra`, by overlap and add.

    Args:
        spectra: Complex array `(..., frames, 513)`.
        samples: Positive integer, how many there were.

    Returns:
        Float32 array `(..., samples)`.

    Example:

    >>> wave = np.sin(np.arange(1000.0))
    >>> bool(np.allclose(waves(spectra(wave), 1000), wave, atol=1e-5))
    True
    """
    whole = tf.signal.inverse_stft(
        tf.cast(spectra, "complex64"),
        FRAME,
        HOP,
        window_fn=tf.signal.inverse_stft_window_fn(HOP),
    )
    return whole.numpy()[..., FRAME - HOP :][..., :samples]


def ideal_mask(speech, noise):
    """Where speech is louder than noise: `|S| > |N|`.

    Args:
        speech: Complex array, spectra of the speech.
        noise: Complex array of that shape, of the noise.

    Returns:
        Boolean array of that shape.

    Example:

    >>> print(ideal_mask(np.array([2j, 1.0]), np.array([-1.0, 3.0])))
    [ True False]
    """
    return np.abs(speech) > np.abs(noise)


def log_magnitudes(spectra):
    """What the networks hear: natural logarithms of magnitudes, from -4 on.

    Args:
        spectra: Complex array, of a sound of unit power.

    Returns:
        Float32 array of that shape.

    Example:

    >>> print(log_magnitudes(np.array([0.0, 1j])).round(2))
    [-3.91  0.02]
    """
    return np.log(np.abs(spectra) + SILENCE).astype("float32")


def unit_power(wave):
    """The wave with a mean square of 1.

    Args:
        wave: Float array `(samples,)`.

    Raises:
        ValueError: If it is silent, or has numbers that are not finite.

    Example:

    >>> print(unit_power(np.array([3.0, -3.0])))
    [ 1. -1.]
    """
    power = np.mean(np.square(wave, dtype="float64")) if np.size(wave) else 0.0
    if not np.isfinite(power) or power <= 0.0:
        raise invalid("wave", "finite numbers that are not all 0", wave)
    return (wave / np.sqrt(power)).astype("float32")
