"""Hinton's speech rows in small: ten nets, their ensemble, and one net distilled.

    python benchmarks/paper/distillation_speech.py --log distillation_speech.jsonl

Hinton, Vinyals & Dean 2015 classify frames of speech: a net is right in 58.9 %, ten of
them together in 61.1 %, one net distilled from the ten in 60.8 %: it keeps 86 % of what
the ensemble gains. Here frames are those of the Free Spoken Digit Dataset, found in
`KERAS_COMPRESS_DATA`. The 30 classes are digit x third of the word; nets are judged on
speakers that they never heard, two of six at a time. The gate: 80 % of the gain.

`alone` is the mean over the ten nets; `alone_longer` is a net trained on labels for as
long as the distilled ones are; `distilled` is a mean over `--students` of them.

What came out in short runs, seed 1, one student, is in `distillation_speech.jsonl`: the
shape is the paper's; of the gains of all three folds 84 % are kept after 40 epochs, and
79 % after 24, which just misses the gate.

| fold | T | alpha | epochs | alone | ensemble | distilled | kept |
| --- | --- | --- | --- | --- | --- | --- | --- |
| 0 | 2 | 0.5 | 6; 12 | 54.66 | 57.60 | 56.40 | 59 % |
| 0 | 2 | 0.9 | 6; 16 | 54.66 | 57.60 | 56.64 | 68 % |
| 0 | 5 | 0.9 | 6; 16 | 54.66 | 57.60 | 56.97 | 79 % |
| 0 | 5 | 0.9 | 6; 24 | 54.66 | 57.60 | 57.19 | 86 % |
| 1 | 5 | 0.9 | 6; 24 | 48.84 | 51.13 | 50.56 | 75 % |
| 2 | 5 | 0.9 | 6; 24 | 35.90 | 38.27 | 37.68 | 75 % |
| 0 | 5 | 0.9 | 6; 40 | 54.66 | 57.60 | 57.34 | 91 % |
| 1 | 5 | 0.9 | 6; 40 | 48.84 | 51.13 | 50.60 | 77 % |
| 2 | 5 | 0.9 | 6; 40 | 35.90 | 38.27 | 37.88 | 84 % |

    python benchmarks/paper/distillation_speech.py --epochs 6 --units 192
        --distil-epochs 40 --students 1 --alpha 0.9 --temperatures 5
"""

import argparse
import json
import os
import platform
import time
from pathlib import Path

FOLDS = [("theo", "yweweler"), ("george", "jackson"), ("lucas", "nicolas")]
RATE, WINDOW, HOP, MELS = 8000, 200, 80, 40


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--smoke", action="store_true", help="two small nets on a few words")
    add("--folds", nargs="+", type=int, default=[0, 1, 2], choices=[0, 1, 2])
    add("--nets", type=int, default=10)
    add("--students", type=int, default=3)
    add("--units", type=int, default=256, help="of each of two hidden layers")
    add("--context", type=int, default=5, help="frames on either side")
    add("--epochs", type=int, default=10, help="of the nets")
    add("--distil-epochs", type=int, default=20)
    add("--temperatures", nargs="+", type=float, default=[2.0, 5.0])
    add("--alpha", type=float, default=0.9)
    add("--seed", type=int, default=1)
    add("--threads", type=int, default=1, help="of TensorFlow")
    add("--log", metavar="FILE", help="append a line of JSON for each result")
    args = parser.parse_args()
    if args.smoke:
        args.folds, args.nets, args.students = [0], 2, 1
        args.units, args.epochs, args.distil_epochs = 32, 2, 2
    return args


def log_mels(path):
    """Logarithms of mel energies `(frames, MELS)`; bands of mean 0 and variance 1."""
    import tensorflow as tf

    from keras_compress.recipes.sound import read_wav

    wave = read_wav(path, RATE)
    wave = tf.pad(wave, [[0, max(0, WINDOW - len(wave))]])
    power = tf.abs(tf.signal.stft(wave, WINDOW, HOP, fft_length=256)) ** 2
    mel = tf.signal.linear_to_mel_weight_matrix(MELS, 129, RATE, 60.0, 3900.0)
    frames = tf.math.log(power @ mel + 1e-6).numpy()
    return (frames - frames.mean(axis=0)) / (frames.std(axis=0) + 1e-3)


def speech(folder, context, words):
    """Frames with their neighbours, classes, and speakers, of every word."""
    import numpy as np

    x, y, speakers = [], [], []
    for path in sorted(folder.glob("*.wav")):
        digit, speaker, number = path.stem.split("_")
        if int(number) >= words:
            continue
        frames = log_mels(path)
        count = len(frames)
        padded = np.pad(frames, ((context, context), (0, 0)), mode="edge")
        neighbours = [padded[i : i + count] for i in range(2 * context + 1)]
        x.append(np.concatenate(neighbours, axis=1).astype("float32"))
        y.append(int(digit) * 3 + 3 * np.arange(count) // count)
        speakers.append(np.full(count, speaker))
    if not x:
        raise SystemExit(f"No recordings in {folder}: set KERAS_COMPRESS_DATA")
    return np.concatenate(x), np.concatenate(y), np.concatenate(speakers)


def network(args, inputs):
    import keras

    hidden = [
        keras.layers.Dense(args.units, "relu", kernel_initializer="he_normal")
        for _ in range(2)
    ]
    return keras.Sequential(
        [keras.Input((inputs,)), *hidden, keras.layers.Dense(30, "softmax")]
    )


def fit(model, data, epochs):
    """Trains a net or a `Distiller` by Adam, at a rate that falls to zero."""
    import keras

    steps = epochs * int(data.cardinality())
    rate = keras.optimizers.schedules.CosineDecay(1e-3, steps)
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    model.fit(data, epochs=epochs, verbose=0, shuffle=False)


def run(args, fold, data, note):
    import keras
    import numpy as np
    import tensorflow as tf

    import keras_compress as kc
    from keras_compress.recipes import hinton_2015

    x, y, speakers = data
    held = np.isin(speakers, FOLDS[fold])
    start = time.monotonic()

    def accuracy(probabilities):
        return 100.0 * float((probabilities.argmax(axis=-1) == y[held]).mean())

    def heard(model):
        return model.predict(x[held], batch_size=4096, verbose=0)

    def trained(seed, epochs):
        keras.utils.set_random_seed(seed)
        model = network(args, x.shape[1])
        frames = hinton_2015.batches(x[~held], y[~held], batch=250, seed=seed)
        fit(model, frames, epochs)
        return model

    nets = [trained(args.seed + i, args.epochs) for i in range(args.nets)]
    said = [heard(net) for net in nets]
    alone = float(np.mean([accuracy(one) for one in said]))
    ensemble = accuracy(np.mean(said, axis=0))
    longer = accuracy(heard(trained(args.seed, args.distil_epochs)))
    path = Path("build/distillation_speech") / f"{fold}.logits"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    frames = tf.data.Dataset.from_tensor_slices((x[~held], y[~held])).batch(1000)
    cached = kc.distillation.cache_logits(
        nets, frames, path, shuffle=int((~held).sum()), batch_size=250, seed=args.seed
    )
    for temperature in args.temperatures:
        found = []
        for i in range(args.students):
            keras.utils.set_random_seed(args.seed + 100 + i)
            student = network(args, x.shape[1])
            distiller = kc.Distiller(student, temperature=temperature, alpha=args.alpha)
            fit(distiller, cached, args.distil_epochs)
            found.append(accuracy(heard(student)))
        distilled = float(np.mean(found))
        note(
            fold=fold,
            held_out=FOLDS[fold],
            frames=[int((~held).sum()), int(held.sum())],
            temperature=temperature,
            alone=round(alone, 2),
            alone_longer=round(longer, 2),
            ensemble=round(ensemble, 2),
            distilled=round(distilled, 2),
            each=[round(one, 2) for one in found],
            kept=round((distilled - alone) / (ensemble - alone), 3),
            seconds=round(time.monotonic() - start),
        )


def main():
    args = arguments()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    tf.config.threading.set_inter_op_parallelism_threads(args.threads)
    folder = Path(os.environ.get("KERAS_COMPRESS_DATA", "data")) / "fsdd/recordings"
    data = speech(folder, args.context, 3 if args.smoke else 50)
    conditions = {
        "arguments": vars(args),
        "python": platform.python_version(),
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "time": time.strftime("%Y-%m-%dT%H:%M:%S"),
    }

    def note(**found):
        print(json.dumps(found), flush=True)
        if args.log:
            with open(args.log, "a") as file:
                print(json.dumps(found | conditions), file=file)

    for fold in args.folds:
        run(args, fold, data, note)


if __name__ == "__main__":
    main()
