"""Wav files in and out: numbers, channels, rates, and files that are none."""

import numpy as np
import pytest

pytest.importorskip("scipy")

from scipy.io import wavfile

from keras_compress.recipes.sound import read_wav, write_wav


def test_round_trip(tmp_path):
    wave = np.array([0.0, 0.5, -0.5, 1.0, -1.0])
    write_wav(tmp_path / "x.wav", wave, 8000)
    np.testing.assert_allclose(read_wav(tmp_path / "x.wav", 8000), wave, atol=1e-4)


def test_too_loud_is_scaled_and_not_clipped(tmp_path):
    write_wav(tmp_path / "x.wav", np.array([2.0, 1.0]), 8000)
    found = read_wav(tmp_path / "x.wav", 8000)
    np.testing.assert_allclose(found, [1.0, 0.5], atol=1e-4)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32"])
def test_every_kind_of_sample(dtype, tmp_path):
    wave = np.array([[0.5, -0.5], [0.25, 0.75]])
    if dtype == "uint8":
        samples = np.round(128 + 128 * wave).astype(dtype)
    elif dtype == "float32":
        samples = wave.astype(dtype)
    else:
        samples = (wave * -float(np.iinfo(dtype).min)).astype(dtype)
    wavfile.write(tmp_path / "x.wav", 8000, samples)
    found = read_wav(tmp_path / "x.wav", 8000)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [0.0, 0.5], atol=0.01)


def test_another_rate(tmp_path):
    time = np.arange(44100) / 44100
    write_wav(tmp_path / "x.wav", 0.5 * np.sin(2 * np.pi * 440 * time), 44100)
    found = read_wav(tmp_path / "x.wav", 16000)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert found.shape == (16000,)
    np.testing.assert_allclose(found[500:-500], expected[500:-500], atol=1e-3)


def test_no_wav_file(tmp_path):
    (tmp_path / "x.wav").write_bytes(b"not a sound")
    with pytest.raises(ValueError, match="a wav file"):
        read_wav(tmp_path / "x.wav", 8000)
    wavfile.write(tmp_path / "empty.wav", 8000, np.zeros(0, "int16"))
    with pytest.raises(ValueError, match="with samples"):
        read_wav(tmp_path / "empty.wav", 8000)


def test_no_sound_to_write(tmp_path):
    with pytest.raises(ValueError, match="finite"):
        write_wav(tmp_path / "x.wav", np.array([np.nan]), 8000)
    with pytest.raises(ValueError, match="one axis"):
        write_wav(tmp_path / "x.wav", np.zeros((2, 2)), 8000)
