"""Sounds, spectra, mixtures and measures of the speech recipes, against plain NumPy."""

import numpy as np
import pytest

import keras_compress as kc
from keras_compress.recipes import kim_2018, noisy_speech, spectra
from keras_compress.recipes.noisy_speech import PARTS, SEEN, UNSEEN
from keras_compress.recipes.sound import read_wav


def rms(x):
    return np.sqrt(np.mean(np.square(x, dtype="float64")))


@pytest.mark.parametrize("samples", [1, 255, 256, 1024, 5000])
def test_spectra_round_trip(samples):
    wave = np.random.default_rng(1).standard_normal((2, samples)).astype("float32")
    found = spectra.spectra(wave)
    assert found.shape[-1] == spectra.BINS
    np.testing.assert_allclose(spectra.waves(found, samples), wave, atol=1e-5)


def test_spectra_are_windowed_fourier_transforms():
    wave = np.random.default_rng(1).standard_normal(3000)
    # The first frame whose samples are all of the wave: zeros of 768 are before it.
    frame = wave[: spectra.FRAME] * np.hanning(spectra.FRAME + 1)[:-1]
    angles = np.outer(np.arange(spectra.BINS), np.arange(spectra.FRAME))
    expected = np.exp(-2j * np.pi * angles / spectra.FRAME) @ frame
    np.testing.assert_allclose(spectra.spectra(wave)[3], expected, atol=1e-3)


def test_ideal_mask_by_hand():
    speech = np.array([[3 + 4j, 1.0], [0.0, -2.0]])
    noise = np.array([[4.9j, 1.0], [0.1, 1.9j]])
    expected = [[True, False], [False, True]]
    np.testing.assert_array_equal(spectra.ideal_mask(speech, noise), expected)


def test_mixtures_are_of_one_power():
    random = np.random.default_rng(1)
    recordings = noisy_speech.made_up(1, sentences=2)
    found = list(noisy_speech.mixtures(recordings, random))
    assert len(found) == 2 * 2 * 2
    for one in found:
        assert rms(one.speech) == pytest.approx(rms(one.noise), rel=1e-5)
        assert rms(one.mixture) == pytest.approx(1.0, rel=1e-5)
    with pytest.raises(ValueError, match="not all 0"):
        noisy_speech.mix(np.zeros(4), np.ones(4))


def test_a_short_clip_begins_anew():
    clip = np.arange(5.0)
    found = noisy_speech.piece(clip, 12, np.random.default_rng(1))
    np.testing.assert_array_equal(np.diff(found) % 5, np.ones(11))
    inside = noisy_speech.piece(clip, 3, np.random.default_rng(1))
    np.testing.assert_array_equal(np.diff(inside), np.ones(2))


def test_weighted_cross_entropy_by_hand():
    random = np.random.default_rng(1)
    y, v = random.random((2, 3, 4))
    z = random.standard_normal((3, 4))
    p = 1.0 / (1.0 + np.exp(-z))
    expected = -(v * (y * np.log(p) + (1.0 - y) * np.log(1.0 - p))).mean(axis=-1)
    found = kim_2018.weighted_cross_entropy(np.stack([v * y, v], axis=1), z)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_frames_are_of_the_mixtures():
    recordings = noisy_speech.made_up(1, sentences=1)
    frames = kim_2018.Frames(recordings, 3, batch=16, anew=False)
    one = next(noisy_speech.mixtures(recordings, np.random.default_rng(3)))
    magnitudes = np.abs(spectra.spectra(one.mixture))
    np.testing.assert_allclose(
        np.exp(frames.heard[: len(magnitudes)]) - spectra.SILENCE, magnitudes, atol=1e-3
    )
    heard, targets = frames[0]
    chosen = frames.order[:16]
    np.testing.assert_array_equal(heard, frames.heard[chosen])
    np.testing.assert_array_equal(targets[:, 0], targets[:, 1] * frames.mask[chosen])
    before = frames.order
    frames.on_epoch_end()
    assert frames.order is before


def test_a_teacher_has_its_share_of_the_targets():
    frames = kim_2018.Frames(noisy_speech.made_up(1, sentences=1), 3)
    model = kim_2018.network(frames.heard, width=4, depth=1, coded=False)
    ideal = frames.mask
    frames.teach(model, 0.25)
    logits = model.predict(frames.heard[:50], verbose=0).astype("float64")
    expected = 0.75 * ideal[:50] + 0.25 / (1.0 + np.exp(-logits))
    np.testing.assert_allclose(frames.mask[:50], expected, atol=1e-5)


def test_an_epoch_has_its_own_mixtures():
    frames = kim_2018.Frames(noisy_speech.made_up(1, sentences=1), 3)
    before = frames.heard
    frames.on_epoch_end()
    assert before.shape == frames.heard.shape
    assert (before != frames.heard).any()


def test_bits_through_the_recipe():
    """Trained, packed, and the same sound out of both."""
    frames = kim_2018.Frames(noisy_speech.made_up(1, sentences=1), 1, anew=False)
    bits = kim_2018.bitwise(kim_2018.network(frames.heard, width=32, depth=1))
    callback = kc.callbacks.Binarization(binarize_at=0.0)
    kim_2018.train(bits, frames, epochs=1, callbacks=[callback], verbose=0)
    packed = kc.pack(bits)
    kinds = [type(layer).__name__ for layer in packed.layers]
    assert kinds == ["Normalization", "PackedLloydMaxCoding", "PackedBitwiseChain"]
    assert len(packed.layers[-1].members) == 2
    wave = 0.1 * np.random.default_rng(1).standard_normal(4000)
    found = kim_2018.denoise(packed, wave)
    np.testing.assert_array_equal(found, kim_2018.denoise(bits, wave))
    for some in (found, kim_2018.denoise(packed, wave, soft=True)):
        assert some.shape == wave.shape
        assert 0.0 < rms(some) < rms(wave)


@pytest.fixture(scope="module")
def parts(data_folder):
    """What each part of the real data is made of, by names and samples."""
    pytest.importorskip("scipy")
    data_folder("tsp_speech_16k")
    root = data_folder("noise").parent
    return {part: noisy_speech.load(root, part, (*SEEN, *UNSEEN)) for part in PARTS}


def test_parts_share_no_sentence(parts):
    assert not set(SEEN) & set(UNSEEN)
    for speaker in (*SEEN, *UNSEEN):
        names = [{name for name, _ in parts[x].sentences[speaker]} for x in PARTS]
        assert [len(some) for some in names] == [40, 10, 10]
        assert len(set.union(*names)) == 60


def test_parts_share_no_noise(parts):
    """ESC-10 cuts several clips out of one recording; these are in one fold."""
    for noise in noisy_speech.NOISES:
        train, held, test = (dict(parts[part].noises[noise]) for part in PARTS)
        assert train
        assert held
        assert test
        assert not train.keys() & test.keys()
        assert not held.keys() & test.keys()
        if noise not in ("typing", "chewing"):
            folds = [{name[0] for name in clips} for clips in (train, held, test)]
            assert folds == [{"1", "2", "3"}, {"4"}, {"5"}]


def test_validation_hears_the_end_of_clips_that_are_few(parts, data_folder):
    for name, held in parts["validation"].noises["typing"]:
        whole = read_wav(data_folder("noise") / f"uiowa/{name}.wav", spectra.RATE)
        begin = dict(parts["train"].noises["typing"])[name]
        np.testing.assert_array_equal(np.concatenate([begin, held]), whole)
        assert len(held) == pytest.approx(0.25 * len(whole), abs=1)


def test_the_oracle_beats_the_mixture(parts):
    pytest.importorskip("mir_eval")
    pytest.importorskip("pystoi")
    from keras_compress.recipes.separation import measure

    one = next(noisy_speech.mixtures(parts["test"], np.random.default_rng(1)))
    speech, noise = spectra.spectra(np.stack([one.speech, one.noise]))
    mask = spectra.ideal_mask(speech, noise)
    oracle = spectra.waves(mask * (speech + noise), len(one.speech))
    before = measure(one.speech, one.noise, one.mixture)
    after = measure(one.speech, one.noise, oracle)
    assert before["SDR"] == pytest.approx(0.0, abs=0.5)
    for name in ("SDR", "SIR", "STOI"):
        assert after[name] > before[name] + (0.01 if name == "STOI" else 5.0)
    # Speech itself, a little louder, has no noise in it at all.
    assert measure(one.speech, one.noise, 1.1 * one.speech)["SIR"] > 100.0


def test_missing_data_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="KERAS_COMPRESS_DATA"):
        noisy_speech.load(tmp_path, "test")
    with pytest.raises(ValueError, match="part"):
        noisy_speech.load(tmp_path, "all")
