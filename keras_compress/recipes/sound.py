"""Sounds of one channel, out of wav files and into them."""

import math
import struct
import warnings

import numpy as np

from keras_compress._validation import check_int, invalid


def read_wav(path, rate):
    """A wav file as numbers, its channels averaged, at the rate that is wanted.

    Args:
        path: String or `pathlib.Path`.
        rate: Positive integer, samples a second. A file of another rate is resampled
            by `scipy.signal.resample_poly`.

    Returns:
        Float32 array `(samples,)`. The full range of integer samples is [-1, 1].

    Raises:
        ImportError: If scipy is not installed.
        ValueError: If the file is no wav file that can be read, or has no samples.
    """
    check_int("rate", rate, minimum=1)
    wavfile, signal = _scipy()
    with warnings.catch_warnings():
        # Of parts of the file that hold no sound.
        warnings.simplefilter("ignore", wavfile.WavFileWarning)
        try:
            found, samples = wavfile.read(path)
        # The latter two of files that end within their header.
        except (ValueError, struct.error, UnboundLocalError) as error:
            raise invalid("path", f"a wav file ({error})", str(path)) from error
    if not samples.size:
        raise invalid("path", "a wav file with samples", str(path))
    wave = _numbers(samples)
    if wave.ndim > 1:
        wave = wave.mean(axis=1)
    if found != rate:
        shared = math.gcd(found, rate)
        wave = signal.resample_poly(wave, rate // shared, found // shared)
    return wave.astype("float32")


def write_wav(path, wave, rate):
    """Writes samples of 16 bits. What is outside [-1, 1] is scaled into it, whole.

    Args:
        path: String or `pathlib.Path`.
        wave: Float array `(samples,)`.
        rate: Positive integer, samples a second.

    Raises:
        ImportError: If scipy is not installed.
        ValueError: If `wave` has not one axis, or numbers that are not finite.
    """
    check_int("rate", rate, minimum=1)
    wave = np.asarray(wave)
    if wave.ndim != 1 or not np.isfinite(wave).all():
        raise invalid("wave", "finite numbers along one axis", wave)
    peak = max(1.0, np.abs(wave).max(initial=0.0))
    samples = np.round(wave * (32767.0 / peak)).astype("int16")
    _scipy()[0].write(path, rate, samples)


def _numbers(samples):
    if samples.dtype == np.uint8:
        return (samples.astype("float32") - 128.0) / 128.0
    if np.issubdtype(samples.dtype, np.integer):
        return samples.astype("float32") / -float(np.iinfo(samples.dtype).min)
    return samples.astype("float32")


def _scipy():
    try:
        from scipy import signal
        from scipy.io import wavfile
    except ImportError as error:
        raise ImportError(
            "Sounds need scipy, which is not installed. Install it with: "
            'pip install "keras-compress[speech]"'
        ) from error
    return wavfile, signal
