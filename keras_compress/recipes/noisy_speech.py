"""Sentences in noise at 0 dB: who speaks, what sounds, and who hears what when.

Speech is McGill's TSP database: Harvard sentences of two women, FA and FB, and two men,
MC and MD, none of which is said twice. Noises are of ESC-10 and of the University of
Iowa. One woman and one man are heard in training, the other two in the test alone; so
are a sixth of everybody's sentences, and of each noise some clips.
"""

import dataclasses
from pathlib import Path

import numpy as np

from keras_compress._validation import check_choice
from keras_compress.recipes import spectra
from keras_compress.recipes.sound import read_wav

SEEN, UNSEEN = ("FA", "MC"), ("FB", "MD")
# Of a speaker's six lists of ten sentences: the fifth is for validation, the last for
# the test.
LISTS = {"train": (0, 1, 2, 3), "validation": (4,), "test": (5,)}
# Where the clips of a noise are. ESC-10 has roosters, too: half of that is silence.
NOISES = {
    "typing": "noise/uiowa/typing*.wav",
    "chewing": "noise/uiowa/BiteChewApple*.wav",
    "sea waves": "noise/esc10/sea_waves/*.wav",
    "rain": "noise/esc10/rain/*.wav",
    "fire": "noise/esc10/fire_crackling/*.wav",
    "chainsaw": "noise/esc10/chainsaw/*.wav",
    "helicopter": "noise/esc10/helicopter/*.wav",
}
PARTS = tuple(LISTS)
# Of noises with too few clips, validation hears the end of those for training.
FEW, HELD = 4, 0.25


@dataclasses.dataclass(frozen=True)
class Recordings:
    """What one part of the data is made of.

    Args:
        sentences: Mapping from a speaker to a list of pairs: the sentence's name and
            a float32 array `(samples,)`.
        noises: Mapping from a noise to a list of such pairs.
    """

    sentences: dict
    noises: dict


@dataclasses.dataclass(frozen=True)
class Mixture:
    """A sentence in a noise of the same power.

    Args:
        speaker: `"FA"`, `"FB"`, `"MC"` or `"MD"`.
        sentence: The sentence's name.
        noise_name: The noise's name.
        speech: Float32 array `(samples,)`.
        noise: Float32 array of that shape. The sum of the two is of unit power.
    """

    speaker: str
    sentence: str
    noise_name: str
    speech: np.ndarray
    noise: np.ndarray

    @property
    def mixture(self):
        """`speech + noise`."""
        return self.speech + self.noise


def load(folder, part, speakers=SEEN):
    """The recordings of one part of the data.

    Args:
        folder: `pathlib.Path` of a folder with `tsp_speech_16k/` and `noise/`.
        part: `"train"`, `"validation"` or `"test"`.
        speakers: Sequence of speakers.

    Returns:
        `Recordings`.

    Raises:
        FileNotFoundError: If there are no files of a speaker or of a noise.
        ValueError: If `part` is unknown.
    """
    check_choice("part", part, PARTS)
    folder = Path(folder)
    sentences = {name: _sentences(folder, name, part) for name in speakers}
    noises = {name: _clips(folder, glob, part) for name, glob in NOISES.items()}
    return Recordings(sentences, noises)


def made_up(seed, sentences=6):
    """Something to try things on where there is no data: voices of gliding harmonics.

    Args:
        seed: Integer.
        sentences: Positive integer, of each of two voices.

    Returns:
        `Recordings`, of two noises: hiss and clicks.
    """
    random = np.random.default_rng(seed)
    voices = {"FX": 220.0, "MX": 120.0}
    said = {
        name: [(f"{name}_{i}", _voice(pitch, random)) for i in range(sentences)]
        for name, pitch in voices.items()
    }
    seconds = 3 * spectra.RATE
    hiss = random.standard_normal(seconds).astype("float32")
    clicks = hiss * (random.random(seconds) < 0.002)
    return Recordings(said, {"hiss": [("hiss", hiss)], "clicks": [("clicks", clicks)]})


def mix(speech, noise):
    """Scales both to one power, so that their sum has a mean square of 1.

    Args:
        speech: Float array `(samples,)`.
        noise: Float array `(samples,)`.

    Returns:
        The two, scaled: float32 arrays.

    Raises:
        ValueError: If one of them is silent.

    Example:

    >>> speech, noise = mix(np.array([5.0, 5.0]), np.array([2.0, -2.0]))
    >>> print(speech.round(3), noise.round(3))
    [0.707 0.707] [ 0.707 -0.707]
    """
    speech, noise = spectra.unit_power(speech), spectra.unit_power(noise)
    gain = np.sqrt(np.mean(np.square(speech + noise, dtype="float64")))
    return (speech / gain).astype("float32"), (noise / gain).astype("float32")


def mixtures(recordings, random, sentences=None):
    """Every sentence in every noise, in a piece of it that chance chooses.

    Args:
        recordings: `Recordings`.
        random: `numpy.random.Generator`.
        sentences: How many of each speaker's. Defaults to all.

    Yields:
        `Mixture`, speaker by speaker.
    """
    for speaker, said in recordings.sentences.items():
        for sentence, speech in said[:sentences]:
            for noise_name, clips in recordings.noises.items():
                _, clip = clips[random.integers(len(clips))]
                noise = piece(clip, len(speech), random)
                yield Mixture(speaker, sentence, noise_name, *mix(speech, noise))


def piece(clip, samples, random):
    """So many samples of a clip, from a random place on; it begins anew at its end.

    Args:
        clip: Float array `(length,)`.
        samples: Positive integer.
        random: `numpy.random.Generator`.
    """
    if samples <= len(clip):
        start = random.integers(len(clip) - samples + 1)
        return clip[start : start + samples]
    return np.resize(np.roll(clip, -random.integers(len(clip))), samples)


def _voice(pitch, random):
    """Two seconds of six syllables, each with its own formant, pitch and length."""
    syllables = []
    for _ in range(6):
        time = np.arange(spectra.RATE // 3) / spectra.RATE
        glide = pitch * (random.uniform(0.85, 1.15) + random.uniform(-0.3, 0.3) * time)
        phase = 2.0 * np.pi * np.cumsum(glide) / spectra.RATE
        number = np.arange(1, int(3800.0 / pitch))[:, None]
        formant = random.uniform(400.0, 2500.0)
        loudness = np.exp(-np.abs(number * pitch - formant) / 500.0)
        sound = np.sum(loudness * np.sin(number * phase), axis=0)
        fade = np.clip(np.sin(np.pi * time / time[-1]), 0.0, 1.0) ** 0.5
        syllables.append(sound * fade * (time < random.uniform(0.2, 0.33)))
    return np.concatenate(syllables).astype("float32")


def _sentences(folder, speaker, part):
    # FA01_07.wav: the speaker, the list, the sentence in it.
    files = _files(folder, f"tsp_speech_16k/{speaker}/*.wav")
    lists = sorted({path.stem.split("_")[0] for path in files})
    chosen = {lists[number] for number in LISTS[part]}
    files = [path for path in files if path.stem.split("_")[0] in chosen]
    return [(path.stem, read_wav(path, spectra.RATE)) for path in files]


def _clips(folder, glob, part):
    files = _files(folder, glob)
    few = len(files) < FEW
    if part == "test":
        chosen = files[-1:] if few else [x for x in files if _fold(x) == 5]
    elif few:
        chosen = files[:-1]
    else:
        chosen = [x for x in files if (_fold(x) == 4) == (part == "validation")]
        chosen = [x for x in chosen if _fold(x) != 5]
    clips = [(path.stem, read_wav(path, spectra.RATE)) for path in chosen]
    if few and part != "test":
        clips = [(name, _portion(clip, part)) for name, clip in clips]
    return clips


def _portion(clip, part):
    end = round(len(clip) * (1.0 - HELD))
    return clip[:end] if part == "train" else clip[end:]


def _fold(path):
    """Clips of one recording are in one fold, which the name begins with."""
    return int(path.stem.split("-")[0])


def _files(folder, glob):
    files = sorted(folder.glob(glob))
    if not files:
        raise FileNotFoundError(
            f"No files {folder / glob}. Set KERAS_COMPRESS_DATA to the folder with "
            "tsp_speech_16k/ and noise/"
        )
    return files
