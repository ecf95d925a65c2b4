"""Han's figure 5 on LeNet-300-100: L1 or L2, retrained or not, at once or in rounds.

    python benchmarks/paper/pruning_han_figure.py --log pruning_han_figure.jsonl
    python benchmarks/paper/pruning_han_figure.py --log LOG --plot han.png

Two networks, trained with an L1 and with an L2 penalty, are pruned to each density, by
the size of the weights across all layers: as they are, and retrained with the same
penalty. In rounds, each density starts from what was retrained at the one before. What
Han found: L1 is better before retraining, L2 behind it, rounds are better still.
"""

import argparse
import json
import os
import time

PENALTIES = {"L1": 1e-5, "L2": 2e-4}
CURVES = {
    ("L2", "as it is"): "L2, as it is",
    ("L1", "as it is"): "L1, as it is",
    ("L1", "retrained"): "L1, retrained",
    ("L2", "retrained"): "L2, retrained",
    ("L2", "in rounds"): "L2, pruned and retrained in rounds",
}


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--smoke", action="store_true", help="small, on the digits of scikit-learn")
    add("--seeds", nargs="+", type=int, default=[1])
    add("--kept", nargs="+", type=float, default=[50, 30, 20, 12, 8, 5, 3, 2])
    add("--epochs", nargs=2, type=int, default=[20, 5], help="dense, and a retraining")
    add("--rates", nargs=2, type=float, default=[1e-3, 5e-4], help="of Adam")
    add("--batch", type=int, default=128)
    add("--threads", type=int, default=1, help="of TensorFlow")
    add("--log", metavar="FILE", default="pruning_han_figure.jsonl")
    add("--plot", metavar="PICTURE", help="draw the log and end")
    return parser.parse_args()


def network(pixels, penalty):
    import keras

    kind = getattr(keras.regularizers, penalty)(PENALTIES[penalty])
    layers = [keras.Input((pixels,))]
    for name, units, activation in (
        ("fc1", 300, "relu"),
        ("fc2", 100, "relu"),
        ("fc3", 10, "softmax"),
    ):
        layers.append(
            keras.layers.Dense(units, activation, kernel_regularizer=kind, name=name)
        )
    return keras.Sequential(layers)


def prune(model, kept):
    """A copy with so many weights, the largest of all layers together."""
    import keras_compress as kc
    from keras_compress.layers.pruned import prune_together

    small = kc.swap(model, kc.Prune())
    prune_together(small.layers, 1 - kept / 100)
    return small


def run(args, seed, digits, log):
    import keras

    from keras_compress.recipes.lenet_300_100 import test_error, train

    def fit(model, epochs, rate):
        train(model, digits, epochs=epochs, rate=rate, batch=args.batch, verbose=0)

    for penalty in PENALTIES:
        keras.utils.set_random_seed(seed)
        start = time.perf_counter()

        def note(how, kept, model, penalty=penalty, start=start):
            row = {"penalty": penalty, "how": how, "kept": kept, "seed": seed}
            row |= {"error": test_error(model, digits)}
            log(row | {"seconds": time.perf_counter() - start})

        model = network(digits.x_train.shape[1], penalty)
        fit(model, args.epochs[0], args.rates[0])
        note("dense", 100, model)
        chain = model
        for kept in args.kept:
            small = prune(model, kept)
            note("as it is", kept, small)
            fit(small, args.epochs[1], args.rates[1])
            note("retrained", kept, small)
            if penalty == "L2":
                chain = prune(chain, kept)
                fit(chain, args.epochs[1], args.rates[1])
                note("in rounds", kept, chain)


def plot(args):
    from matplotlib.figure import Figure

    with open(args.log) as file:
        rows = [json.loads(line) for line in file]
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    colours = ("#d55e00", "#cc79a7", "#e69f00", "#009e73", "#0072b2")
    for colour, ((penalty, how), label) in zip(colours, CURVES.items(), strict=True):
        found = {}
        for row in rows:
            if (row["penalty"], row["how"]) == (penalty, how):
                found.setdefault(row["kept"], []).append(row["error"])
        points = [(kept, sum(x) / len(x)) for kept, x in sorted(found.items())]
        axes.plot(*zip(*points, strict=True), "o-", ms=3, color=colour, label=label)
    dense = [row["error"] for row in rows if row["how"] == "dense"]
    axes.axhline(sum(dense) / len(dense), color="#9aa0a6", zorder=0, label="dense")
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks = sorted({row["kept"] for row in rows if row["how"] != "dense"})
    axes.set_xticks(ticks, [f"{kept:g} %" for kept in ticks])
    axes.invert_xaxis()
    axes.minorticks_off()
    axes.yaxis.set_major_locator(_ticks())
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("weights that are kept")
    axes.set_ylabel("errors on the test images in %")
    axes.grid(color="#e8e8e8", zorder=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(args.plot, dpi=150)
    print(args.plot)


def _ticks():
    from matplotlib.ticker import LogLocator

    return LogLocator(subs=(1, 2, 5))


def main():
    args = arguments()
    if args.plot:
        plot(args)
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    from keras_compress.recipes.digits import load_digits

    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    tf.config.threading.set_inter_op_parallelism_threads(args.threads)
    if args.smoke:
        args.epochs, args.kept = [4, 2], [30, 8]
    digits, line = load_digits("scikit-learn" if args.smoke else "mnist")
    print(line, flush=True)
    hidden = ("log", "plot", "threads", "kept", "seeds")
    settings = {name: value for name, value in vars(args).items() if name not in hidden}
    settings["tensorflow"] = tf.__version__

    def log(row):
        print(row, flush=True)
        with open(args.log, "a") as file:
            print(json.dumps({**settings, **row}), file=file)

    for seed in args.seeds:
        run(args, seed, digits, log)


if __name__ == "__main__":
    main()
