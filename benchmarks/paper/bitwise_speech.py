"""Speech denoising by bits: what a bitwise network loses against a real-valued one.

    python benchmarks/paper/bitwise_speech.py --log results.jsonl

Kim & Smaragdis 2018: frames of 513 magnitudes, as 4 bits of Lloyd-Max levels (2052
inputs), through two hidden layers to the ideal binary mask. Published for 1024 units,
as recalled: 10.17 dB SDR for the real-valued network, 9.80 with bits as inputs, 9.35
with bits throughout, on TIMIT in other noises; so the gap is what can be compared.
Other than there: the magnitudes are logarithms, each bin standardised, there is batch
normalisation, and half of the bits' targets are what the real-valued network says.

Sentences of the TSP database at 0 dB in typing, chewing, sea waves, rain, fire, a
chainsaw and a helicopter. They stand in for the noises of the paper's authors: typing
and sea waves for theirs of these names, chewing for their eating of chips; rain, fire
and the two machines for frogs, jungle and the rest, of which there is nothing near.

All networks learn from one woman and one man, FA and MC. The test has sentences and
clips of noise that no training heard: of these two speakers (seen), and of another
woman and man, FB and MD (unseen). `--part validation` evaluates on the sentences and
clips of FA and MC that are held out for it, as are the losses in the log.

What came out is in `bitwise_speech.jsonl`, seed 1, three runs with `--sentences 3`. The
second is that of the defaults; the first had fewer epochs of always the same mixtures,
which the networks learned by heart; the third is `--epochs 4 6 30`, 12 minutes of a
Zen 5. SDR in dB, gap of bits to float:

| run | epochs | speakers | float | binary input | bits | oracle | gap |
| --- | --- | --- | --- | --- | --- | --- | --- |
| 1 | 3, 2, 4 | seen | 11.26 | 10.60 | 10.13 | 17.54 | 1.13 |
| 1 | 3, 2, 4 | unseen | 10.83 | 9.73 | 8.90 | 18.02 | 1.93 |
| 2 | 4, 3, 12 | seen | 11.47 | 10.99 | 10.53 | 17.28 | 0.94 |
| 2 | 4, 3, 12 | unseen | 11.36 | 10.59 | 10.00 | 18.04 | 1.36 |
| 3 | 4, 6, 30 | seen | 11.48 | 11.16 | 10.85 | 17.28 | 0.62 |
| 3 | 4, 6, 30 | unseen | 11.36 | 10.96 | 10.52 | 18.04 | 0.84 |

Real-valued in the bitwise network: the standardisation of log magnitudes and the 15
limits between the levels, before it; the batch normalisation of the 513 outputs, behind
it, of which the mask takes the sign. Weights, biases, units between layers are bits, in
one op; its batch normalisations are integer thresholds. It is evaluated packed. Masks
are bits, too, for all networks; `soft` is the probability in place of its rounding.
"""

import argparse
import itertools
import json
import os
import platform
import time
from pathlib import Path

GENDERS = {"F": "female", "M": "male"}
FILES = {
    "float": "float.keras",
    "binary input": "coded.keras",
    "bits": "packed.keras",
}


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--smoke", action="store_true", help="small nets on a few sentences")
    add("--seeds", nargs="+", type=int, default=[1])
    add("--width", type=int, default=1024)
    add("--depth", type=int, default=2)
    add("--epochs", nargs=3, type=int, default=[4, 3, 12], help="of the three nets")
    other = argparse.BooleanOptionalAction
    add("--anew", action=other, default=True, help="other mixtures in every epoch")
    add("--batch", type=int, default=512)
    add(
        "--rates", nargs=2, type=float, default=[1e-3, 2e-3], help="of Adam: real, bits"
    )
    add("--dropout", nargs=2, type=float, default=[0.05, 0.2], help="of the real nets")
    add("--binarize-at", type=float, default=0.15, help="share of the fit in stage 1")
    add(
        "--alpha", type=float, default=0.5, help="share of the float net in the targets"
    )
    add("--part", default="test", choices=["validation", "test"])
    add("--sentences", type=int, default=10, help="of each speaker, to evaluate on")
    add("--soft", action="store_true", help="also measure masks of probabilities")
    add("--jit", action="store_true", help="compile with XLA")
    add("--threads", type=int, default=1, help="of TensorFlow")
    add("--keep", metavar="FOLDER", help="of networks; what is there is not trained")
    add("--log", metavar="FILE", help="append a line of JSON for each result")
    args = parser.parse_args()
    if args.smoke:
        args.seeds, args.width, args.epochs, args.sentences = [1], 64, [1, 1, 2], 1
    return args


def shortened(recordings, sentences):
    """A few of each speaker's sentences, for `--smoke`."""
    import dataclasses

    few = {name: said[:sentences] for name, said in recordings.sentences.items()}
    return dataclasses.replace(recordings, sentences=few)


def networks(args, folder, seed, note):
    """The three networks of a seed, trained, or as they were kept; the last packed."""
    import keras
    import numpy as np

    import keras_compress as kc
    from keras_compress.recipes import kim_2018, noisy_speech
    from keras_compress.save import save_whole

    heard, held = (noisy_speech.load(folder, x) for x in ("train", "validation"))
    held = shortened(held, 1 if args.smoke else 3)
    if args.smoke:
        heard = shortened(heard, 3)
    frames = kim_2018.Frames(heard, seed, batch=args.batch, anew=args.anew)
    sample = frames.heard
    validation = kim_2018.Frames(held, seed, batch=500, anew=False)
    size = {"width": args.width, "depth": args.depth, "dropout": args.dropout}

    def fit(name, model, epochs, rate, callbacks=()):
        start = time.monotonic(), time.process_time()
        history = kim_2018.train(
            *(model, frames),
            epochs=epochs,
            rate=rate,
            callbacks=callbacks,
            validation=validation,
            jit_compile=args.jit,
            verbose=2,
        ).history
        note(
            seed=seed,
            network=name,
            frames=len(frames.heard),
            loss=[round(x, 4) for x in history["loss"]],
            val_loss=[round(x, 4) for x in history["val_loss"]],
            seconds=round(time.monotonic() - start[0]),
            processor_seconds=round(time.process_time() - start[1]),
        )
        return model

    def plain():
        model = kim_2018.network(sample, coded=False, **size)
        return fit("float", model, args.epochs[0], args.rates[0])

    def coded():
        model = kim_2018.network(sample, **size)
        return fit("binary input", model, args.epochs[1], args.rates[0])

    def packed():
        if args.alpha:
            frames.teach(found["float"], args.alpha)
        bits = fit(
            "bits",
            kim_2018.bitwise(found["binary input"]),
            *(args.epochs[2], args.rates[1]),
            [kc.callbacks.Binarization(binarize_at=args.binarize_at)],
        )
        small = kc.pack(bits)
        some = validation.heard[:1000]
        if np.any(small.predict(some, verbose=0) != bits.predict(some, verbose=0)):
            raise SystemExit("The packed network says something else than the trained")
        return small

    found = {}
    for name, make in {"float": plain, "binary input": coded, "bits": packed}.items():
        keras.utils.set_random_seed(seed)
        path = args.keep and Path(args.keep) / str(seed) / FILES[name]
        if path and path.exists():
            found[name] = keras.saving.load_model(path, compile=False)
            continue
        found[name] = make()
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_whole(found[name], path)
    return found


def evaluate(args, models, folder, seed):
    """Yields the measures of every system on every mixture."""
    import numpy as np

    from keras_compress.recipes import kim_2018, noisy_speech, spectra
    from keras_compress.recipes.separation import measure

    groups = {"seen": noisy_speech.SEEN, "unseen": noisy_speech.UNSEEN}
    if args.part == "validation":
        del groups["unseen"]
    for group, speakers in groups.items():
        recordings = noisy_speech.load(folder, args.part, speakers)
        random = np.random.default_rng(seed)
        chosen = noisy_speech.mixtures(recordings, random, args.sentences)
        for one in itertools.islice(chosen, 2 if args.smoke else None):
            speech, noise = spectra.spectra(np.stack([one.speech, one.noise]))
            ideal = spectra.ideal_mask(speech, noise)
            oracle = spectra.waves(ideal * (speech + noise), len(one.speech))
            estimates = {"mixture": one.mixture}
            for name, model in models.items():
                estimates[name] = kim_2018.denoise(model, one.mixture)
            for name in ("float", "bits") if args.soft else ():
                soft = kim_2018.denoise(models[name], one.mixture, soft=True)
                estimates[f"{name}, soft"] = soft
            estimates["oracle"] = oracle
            for system, estimate in estimates.items():
                yield {
                    "group": group,
                    "speaker": GENDERS[one.speaker[0]],
                    "noise": one.noise_name,
                    "system": system,
                    **measure(one.speech, one.noise, estimate),
                }


def means(rows, *names):
    """The means of the measures over all rows that agree in these columns."""
    import numpy as np

    from keras_compress.recipes.separation import MEASURES

    found = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in names), []).append(row)
    return {
        key: {x: float(np.mean([row[x] for row in some])) for x in MEASURES}
        for key, some in found.items()
    }


def show(rows):
    """Two Markdown tables: all measures of each system, and SDR by voice and noise."""
    from tabulate import tabulate

    form = {"tablefmt": "github", "floatfmt": ".2f"}
    overall = means(rows, "group", "system")
    table = [
        [*key, *(f"{x:.3f}" if name == "STOI" else x for name, x in values.items())]
        for key, values in overall.items()
    ]
    heads = ["speakers", "system", "SDR", "SIR", "SAR", "STOI"]
    print(tabulate(table, heads, disable_numparse=[5], **form), end="\n\n")
    systems = list(dict.fromkeys(row["system"] for row in rows))
    cells = means(rows, "group", "speaker", "noise", "system")
    places = list(dict.fromkeys(key[:3] for key in cells))
    table = [
        [*place, *(cells[(*place, system)]["SDR"] for system in systems)]
        for place in places
    ]
    heads = ["speakers", "voice", "noise", *(f"{x}, dB" for x in systems)]
    print(tabulate(table, heads, **form), end="\n\n")
    for group in dict.fromkeys(key[0] for key in overall):
        gap = overall[group, "float"]["SDR"] - overall[group, "bits"]["SDR"]
        print(f"{group} speakers: the bits lose {gap:.2f} dB SDR against float")


def main():
    args = arguments()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    tf.config.threading.set_inter_op_parallelism_threads(args.threads)
    folder = Path(os.environ.get("KERAS_COMPRESS_DATA", "data"))
    conditions = {
        "arguments": {k: v for k, v in vars(args).items() if k not in ("keep", "log")},
        "python": platform.python_version(),
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "time": time.strftime("%Y-%m-%dT%H:%M:%S"),
    }

    def note(**found):
        print(json.dumps(found), flush=True)
        if args.log:
            # How a network was trained is what the lines of its measures go back to.
            whole = found | conditions if "network" in found else found
            with open(args.log, "a") as file:
                print(json.dumps(whole), file=file)

    rows = []
    for seed in args.seeds:
        models = networks(args, folder, seed, note)
        found = list(evaluate(args, models, folder, seed))
        for key, values in means(found, "group", "speaker", "noise", "system").items():
            group, speaker, noise, system = key
            values = {name: round(x, 3) for name, x in values.items()}
            where = {"seed": seed, "part": args.part, "speakers": group}
            note(**where, voice=speaker, noise=noise, system=system, **values)
        rows += found
    show(rows)


if __name__ == "__main__":
    main()
