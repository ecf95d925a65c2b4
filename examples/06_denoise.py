"""Take the noise out of a wav file with a network of bits.

python examples/06_denoise.py                      # train one, and show what it does
python examples/06_denoise.py noisy.wav --model packed.keras --output clean.wav

Without `--model` it trains on the sentences and noises in KERAS_COMPRESS_DATA, or on
made-up ones, and keeps the networks in `--folder`; without a wav file it mixes one that
the training has not heard. It writes the speech that it found, a picture of the
spectrograms, and prints the time it took beside that of the float network.
"""

import argparse
import functools
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

import keras_compress as kc
from keras_compress.recipes import kim_2018, noisy_speech, spectra
from keras_compress.recipes.sound import read_wav, write_wav
from keras_compress.save import save_whole

DATA = Path(os.environ.get("KERAS_COMPRESS_DATA", "data"))


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("noisy", nargs="?", type=Path, help="a wav file")
    add("--model", type=Path, help="a packed network, .keras; else one is trained")
    add("--float", type=Path, help="the float network beside it, to compare")
    add("--output", type=Path, help="the speech, .wav; default: FOLDER/clean.wav")
    add("--picture", type=Path, help="spectrograms; default: FOLDER/denoise.png")
    add("--folder", type=Path, help="of what is written; default: denoised")
    add("--soft", action="store_true", help="weigh bins instead of dropping them")
    add("--smoke", action="store_true", help="a tiny network, hardly trained")
    args = parser.parse_args()
    if args.float and not args.model:
        parser.error("--float goes with --model")
    if args.model and not args.noisy:
        parser.error("--model needs a wav file to denoise")
    if args.folder is None:
        args.folder = Path(tempfile.mkdtemp() if args.smoke else "denoised")
    return args


def recordings(part, smoke):
    """Speech and noise, and whether they are real."""
    if not (DATA / "tsp_speech_16k").is_dir():
        return noisy_speech.made_up(noisy_speech.PARTS.index(part)), False
    found = noisy_speech.load(DATA, part)
    if smoke:
        few = {name: said[:2] for name, said in found.sentences.items()}
        found = noisy_speech.Recordings(few, found.noises)
    return found, True


def trained(smoke):
    """A float network, and one of bits that learned from it, packed."""
    heard, real = recordings("train", smoke)
    print(
        f"Training on {', '.join(heard.sentences)} in {', '.join(heard.noises)}"
        + ("" if real else ": made-up sounds, for there is no data")
    )
    width, epochs, verbose = (64, (1, 2), 0) if smoke else (512, (3, 6), 2)
    keras.utils.set_random_seed(1)
    frames = kim_2018.Frames(heard, 1)
    model = kim_2018.network(frames.heard, width=width, coded=False)
    kim_2018.train(model, frames, epochs=epochs[0], verbose=verbose)
    # Not swapped from that one: its inputs are 513 numbers, and these are 2052 bits.
    bits = kim_2018.bitwise(kim_2018.network(frames.heard, width=width))
    frames.teach(model)
    kim_2018.train(
        bits,
        frames,
        epochs=epochs[1],
        rate=2e-3,
        callbacks=[kc.callbacks.Binarization(binarize_at=0.3)],
        verbose=verbose,
    )
    return model, kc.pack(bits)


def mixed(smoke):
    """Speech that no training heard, and the same in noise."""
    held, _ = recordings("test", smoke)
    for one in noisy_speech.mixtures(held, np.random.default_rng(1), 1):
        if one.noise_name in ("sea waves", "clicks"):
            break
    print(f"Mixed: sentence {one.sentence} in {one.noise_name}, 0 dB")
    return one.speech, one.mixture


def microseconds(functions, calls):
    """The median time of each; they take turns."""
    times = {name: [] for name in functions}
    for _ in range(calls + 1):
        for name, function in functions.items():
            begin = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - begin)
    # The first call builds the graph.
    return {name: 1e6 * np.median(found[1:]) for name, found in times.items()}


def measure(models, noisy, smoke):
    """How long the networks take for this sound: all of it at once, and by frames."""
    heard = spectra.log_magnitudes(spectra.spectra(spectra.unit_power(noisy)))
    *before, chain = models["bits"].layers
    if "float" not in models:
        # What it says does not matter here: its time does not depend on it.
        size = {"width": chain.members[0].units, "depth": len(chain.members) - 1}
        untrained = kim_2018.network(heard, coded=False, **size)
        models = {"float (untrained, of that size)": untrained, **models}
    bits = tf.constant(heard)
    for layer in before:
        bits = layer(bits)
    calls = {
        name: (tf.function(lambda x, model=model: model(x, training=False)), heard)
        for name, model in models.items()
    }
    calls["its op alone"] = chain.as_function(), bits
    seconds = len(noisy) / spectra.RATE
    for text, frames, share in (
        ("a second of sound", len(heard), seconds),
        ("one frame by itself", 1, 1.0),
    ):
        # One copy each, so that none of the times is that of the copying.
        ready = {
            name: (call, tf.constant(x[:frames])) for name, (call, x) in calls.items()
        }
        found = microseconds(
            {name: functools.partial(*call) for name, call in ready.items()},
            5 if smoke else 100,
        )
        parts = [f"{name} {us / share:,.0f} us" for name, us in found.items()]
        print(f"{text}: {', '.join(parts)}")


def draw(path, waves):
    """Spectrograms above each other, on one scale of loudness."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 2.1 * len(waves) + 0.4), layout="constrained")
    top = 20.0 * np.log10(np.abs(spectra.spectra(waves["noisy"])).max())
    axes = figure.subplots(len(waves), 1, sharex=True, sharey=True, squeeze=False)
    for axis, (title, wave) in zip(axes[:, 0], waves.items(), strict=True):
        loudness = 20.0 * np.log10(np.abs(spectra.spectra(wave)) + 1e-6)
        image = axis.imshow(
            loudness.T - top,
            origin="lower",
            aspect="auto",
            cmap="magma",
            vmin=-70.0,
            vmax=0.0,
            extent=(0.0, len(wave) / spectra.RATE, 0.0, spectra.RATE / 2000.0),
        )
        axis.set_title(title, loc="left", fontsize="medium")
        axis.set_ylabel("kHz")
    axes[-1, 0].set_xlabel("seconds")
    figure.colorbar(image, ax=axes[:, 0], label="dB", aspect=15 * len(waves))
    figure.savefig(path, dpi=150)


def main():
    args = arguments()
    models = {}
    args.folder.mkdir(parents=True, exist_ok=True)
    if args.model:
        if args.float:
            models["float"] = keras.saving.load_model(args.float, compile=False)
        models["bits"] = keras.saving.load_model(args.model, compile=False)
        if not isinstance(models["bits"].layers[-1], kc.packed.PackedBitwiseChain):
            raise SystemExit(f"{args.model} has no packed chain of bitwise layers")
    else:
        models["float"], models["bits"] = trained(args.smoke)
        save_whole(models["float"], args.folder / "float.keras")
        save_whole(models["bits"], args.folder / "packed.keras")
    if args.noisy:
        speech, noisy = None, read_wav(args.noisy, spectra.RATE)
    else:
        speech, noisy = mixed(args.smoke)
        write_wav(args.folder / "noisy.wav", 0.2 * noisy, spectra.RATE)

    found = {
        name: kim_2018.denoise(model, noisy, soft=args.soft)
        for name, model in models.items()
    }
    output = args.output or args.folder / "clean.wav"
    level = 1.0 if args.noisy else 0.2
    write_wav(output, level * found["bits"], spectra.RATE)
    waves = {"noisy": noisy}
    titles = {"float": "by the float network", "bits": "by the network of bits"}
    waves |= {titles[name]: wave for name, wave in found.items()}
    if speech is not None:
        waves["the speech itself"] = speech
    picture = args.picture or args.folder / "denoise.png"
    draw(picture, waves)
    print(f"Written: {output}, {picture}")
    measure(models, noisy, args.smoke)


if __name__ == "__main__":
    main()
