"""Deep Compression of the LeNets: prune, share weights, compact file; bytes and errors.

    python benchmarks/paper/deep_compression.py --run lenet_300_100 --seeds 1 2 3

| run                 | starts from                               | is then     |
| ------------------- | ----------------------------------------- | ----------- |
| `lenet_300_100`     | random weights, trained here              | pruned here |
| `lenet_300_100_dns` | weights pruned by Dynamic Network Surgery | trained on  |
| `lenet_5`           | trained dense weights                     | pruned here |
| `lenet_5_dns`       | weights pruned by Dynamic Network Surgery | trained on  |

The last three need the pretrained networks in KERAS_COMPRESS_DATA. Weights that are
left share `2 ** bits` values a layer, whose centroids then train. The model is packed
with `storage="compact"` and saved; the file is loaded again, and the error is that of
what was loaded, on all test images. Settings are the table's below, the last epoch
counts, and test images choose nothing. Each line of the log has:

`file`: bytes of the file of `keras_compress.save`, all in; `keras_file`: the same model
by `Model.save`, whose settings in writing and HDF5 frame are not compressed; `payload`:
the weights and biases alone; `resident`: bytes in memory; `errors`: per cent, of the
pruned net, after sharing, after training centroids, and of the file.

[Han et al., 2016](https://arxiv.org/abs/1510.00149): LeNet-300-100 in 27 kB at 1.58 %
errors, LeNet-5 in 44 kB at 0.74 %, weights and indices alone.
"""

import argparse
import json
import math
import os
import time
from pathlib import Path

# Sparsity to prune to, bits a layer, and epochs dense, pruned, shared.
RUNS = {
    "lenet_300_100": {
        "sparsity": 0.92,
        "bits": {"fc1": 4, "fc2": 5, "fc3": 5},
        "epochs": [15, 30, 3],
    },
    "lenet_300_100_dns": {
        "sparsity": None,
        "bits": {"ip1": 3, "ip2": 4, "ip3": 4},
        "epochs": [0, 10, 3],
    },
    "lenet_5": {
        "sparsity": 0.975,
        "bits": {"conv1": 5, "conv2": 4, "ip1": 4, "ip2": 4},
        "epochs": [0, 10, 2],
    },
    "lenet_5_dns": {
        "sparsity": None,
        "bits": {"conv1": 5, "conv2": 4, "ip1": 4, "ip2": 4},
        "epochs": [0, 5, 2],
    },
}
START = {
    "lenet_300_100_dns": "lenet_300_100_dns_sparse.keras",
    "lenet_5": "lenet5_dense.keras",
    "lenet_5_dns": "lenet5_dns_sparse.keras",
}
# (kB, per cent): what Han has, and what is aimed at.
GOALS = {
    "lenet_300_100": [(27.0, 1.60), (6.6, 1.9)],
    "lenet_5": [(44.0, 0.80), (10.4, 0.80)],
}


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--smoke", action="store_true", help="seconds, on the digits of scikit-learn")
    add("--run", choices=list(RUNS), nargs="+", default=list(RUNS))
    add("--seeds", nargs="+", type=int, default=[1])
    add("--epochs", nargs=3, type=int, help="dense, pruned, shared; the run's own")
    add("--sparsity", type=float, help="the run's own")
    add("--bits", type=int, help="of all layers; the run's own")
    add("--rates", nargs=3, type=float, default=[1e-3, 2e-3, 3e-4], help="of Adam")
    add("--batch", type=int, default=128)
    add("--held-out", type=int, default=0, help="training images to measure on instead")
    add("--frozen", action="store_true", help="convolutions: prune and train the rest")
    add("--dropout", type=float, default=0.2, help="of what frozen ones say")
    add("--cache", metavar="FOLDER", help="of pruned networks, to share anew")
    add("--threads", type=int, default=1)
    add("--log", metavar="FILE", default="deep_compression.jsonl")
    add("--table", action="store_true", help="print the log as a table and end")
    return parser.parse_args()


class Data:
    """Images as the network takes them."""

    def __init__(self, digits, run, args):
        import numpy as np

        # The pretrained networks saw pixel / 256.
        scale = 255 / 256 if run in START and not args.smoke else 1.0
        side = int(digits.x_train.shape[1] ** 0.5)
        flat = run == "lenet_300_100" or args.smoke
        shape = (-1,) if flat else (side, side, 1)
        x = [
            np.reshape(a * scale, (len(a), *shape))
            for a in (digits.x_train, digits.x_test)
        ]
        y = [digits.y_train, digits.y_test]
        if args.held_out:
            # The last of the training images, in place of the test's.
            x = [x[0][: -args.held_out], x[0][-args.held_out :]]
            y = [y[0][: -args.held_out], y[0][-args.held_out :]]
        (self.x_train, self.x_test), (self.y_train, self.y_test) = x, y


def start(run, data, args, epochs):
    """The network to be pruned, or that is pruned already."""
    import keras

    from keras_compress.recipes import lenet_300_100

    if run not in START or args.smoke:
        model = lenet_300_100.build(data.x_train.shape[1])
        if epochs:
            fit(model, data, epochs, args.rates[0], args)
        return model
    folder = os.environ.get("KERAS_COMPRESS_DATA")
    if not folder:
        raise SystemExit("Set KERAS_COMPRESS_DATA to the folder with `pretrained`.")
    model = keras.models.load_model(Path(folder) / "pretrained" / START[run])
    if epochs:
        fit(model, data, epochs, args.rates[0], args)
    return model


def fit(model, data, epochs, rate, args, callbacks=()):
    import keras

    x_train = data.x_train
    if args.frozen and any(layer.name == "conv1" for layer in model.layers):
        # The same layers, on what the convolutions say of all images, once.
        names = [layer.name for layer in model.layers]
        behind = next(i for i, name in enumerate(names) if name == "ip1")
        front = keras.Sequential([keras.Input((28, 28, 1)), *model.layers[:behind]])
        x_train = front.predict(x_train, batch_size=500, verbose=0)
        inputs = keras.Input(x_train.shape[1:])
        dropout = keras.layers.Dropout(args.dropout)
        model = keras.Sequential([inputs, dropout, *model.layers[behind:]])
    steps = epochs * -(-len(data.x_train) // args.batch)
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps)),
        "sparse_categorical_crossentropy",
    )
    settings = {"batch_size": args.batch, "epochs": epochs, "verbose": 2}
    model.fit(x_train, data.y_train, callbacks=list(callbacks), **settings)


def prune(model, data, sparsity, epochs, args):
    """The pruned model, trained on; without `sparsity` what is zero stays zero."""
    import keras

    import keras_compress as kc

    small = kc.swap(model, kc.Prune())
    if sparsity is None:
        for layer in small.layers:
            if hasattr(layer, "prune"):
                layer.mask.assign(layer.kernel != 0)
        if epochs:
            fit(small, data, epochs, args.rates[1] / 4, args)
        return small
    for layer in small.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate *= (1.0 - sparsity) ** 0.5
    if args.frozen:
        # Once, and mildly: nothing makes good for it.
        for layer in small.layers:
            if layer.name.startswith("conv"):
                layer.prune(sparsity={"conv1": 0.2, "conv2": 0.5}[layer.name])
    pruning = kc.callbacks.IterativePruning(
        kc.schedules.Cubic(sparsity, end=0.5), scope="global"
    )
    fit(small, data, epochs, args.rates[1], args, [pruning])
    return small


def prepared(run, seed, data, settings, args):
    """The pruned model, from the cache if it is there, and the errors before."""
    import keras

    *epochs, _ = settings["epochs"]
    parts = (run, seed, settings["sparsity"], *epochs, args.held_out, args.frozen)
    cached = args.cache and Path(args.cache) / ("_".join(map(str, parts)) + ".keras")
    if cached and cached.exists():
        return keras.models.load_model(cached, compile=False), {}
    model = start(run, data, args, epochs[0])
    errors = {"start": error(model, data)}
    pruned = prune(model, data, settings["sparsity"], epochs[1], args)
    if cached:
        cached.parent.mkdir(parents=True, exist_ok=True)
        pruned.save(cached)
    return pruned, errors


def error(model, data):
    import numpy as np

    scores = model.predict(data.x_test, batch_size=1000, verbose=0)
    return round(100.0 * float(np.mean(scores.argmax(axis=-1) != data.y_test)), 3)


def one_run(run, seed, data, args):
    import tempfile

    import keras
    import numpy as np

    import keras_compress as kc

    settings = dict(RUNS[run])
    if args.smoke:
        settings["bits"] = {"fc1": 4, "fc2": 4, "fc3": 4}
        settings["epochs"] = [2, 2, 1]
        settings["sparsity"] = settings["sparsity"] or 0.9
    settings["epochs"] = args.epochs or settings["epochs"]
    settings["sparsity"] = args.sparsity or settings["sparsity"]
    if args.bits:
        settings["bits"] = dict.fromkeys(settings["bits"], args.bits)
    keras.utils.set_random_seed(seed)
    began = time.perf_counter()
    share_epochs = settings["epochs"][2]
    pruned, errors = prepared(run, seed, data, settings, args)
    errors["pruned"] = error(pruned, data)
    configs = {name: kc.Cluster(bits=bits) for name, bits in settings["bits"].items()}
    shared = kc.swap(pruned, configs)
    errors["shared"] = error(shared, data)
    if share_epochs:
        fit(shared, data, share_epochs, args.rates[2], args)
    errors["trained"] = error(shared, data)
    packed = kc.pack(shared, storage="compact")
    with tempfile.TemporaryDirectory() as folder:
        # Loaded without them, a model has no settings of training to be saved.
        packed.save(Path(folder) / "compiled.keras")
        loaded = keras.models.load_model(Path(folder) / "compiled.keras", compile=False)
        path = kc.save(loaded, Path(folder) / "compact.keras")
        loaded.save(Path(folder) / "plain.keras")
        loaded = keras.models.load_model(path)
        sizes = {
            "file": path.stat().st_size,
            "keras_file": (Path(folder) / "plain.keras").stat().st_size,
        }
    errors["file"] = error(loaded, data)
    sizes["payload"] = payload(packed)
    sizes["resident"] = sum(np.asarray(x).nbytes for x in packed.weights)
    kept = sum(int(np.count_nonzero(x.effective_kernel())) for x in layers_of(shared))
    return {
        "run": run,
        "seed": seed,
        **settings,
        "held_out": args.held_out,
        "errors": errors,
        "bytes": sizes,
        "weights": sum(int(np.prod(x.kernel.shape)) for x in layers_of(shared)),
        "kept": kept,
        "ratio": round(4 * parameters(shared) / sizes["file"], 1),
        "frozen": args.dropout if args.frozen else None,
        "seconds": round(time.perf_counter() - began),
        "rates": args.rates,
        "batch": args.batch,
        "smoke": args.smoke,
    }


def layers_of(model):
    return [layer for layer in model.layers if hasattr(layer, "kernel")]


def parameters(model):
    """Of the dense network, biases included."""
    layers = layers_of(model)
    return sum(x.kernel.shape[-1] + math.prod(x.kernel.shape) for x in layers)


def payload(packed):
    """Bytes of what the layers store."""
    total = 0
    for layer in packed.layers:
        store = {}
        layer.save_own_variables(store)
        total += sum(value.nbytes for value in map(as_array, store.values()))
    return total


def as_array(value):
    import numpy as np

    return np.asarray(value)


def table(path):
    from tabulate import tabulate

    rows = []
    for line in path.read_text().splitlines():
        one = json.loads(line)
        sizes, errors = one["bytes"], one["errors"]
        rows.append(
            [
                one["run"] + (" (smoke)" if one["smoke"] else ""),
                one["seed"],
                f"{one['kept']:,} of {one['weights']:,}",
                " ".join(map(str, one["bits"].values())),
                *(errors[name] for name in ("pruned", "shared", "trained", "file")),
                *(f"{sizes[n]:,}" for n in ("payload", "file", "keras_file")),
                one["ratio"],
                ", ".join(goals_met(one)) or "-",
            ]
        )
    titles = "run seed kept bits pruned shared trained file payload".split()
    titles += ["`save`", "`Model.save`", "x smaller", "goals"]
    print(tabulate(rows, titles, tablefmt="github"))


def goals_met(one):
    net = "lenet_5" if one["run"].startswith("lenet_5") else "lenet_300_100"
    return [
        f"{kilobytes} kB, {most} %"
        for kilobytes, most in GOALS[net]
        if one["bytes"]["file"] <= 1000 * kilobytes and one["errors"]["file"] <= most
    ]


def main():
    args = arguments()
    log = Path(args.log)
    if args.table:
        table(log)
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras
    import tensorflow as tf

    from keras_compress.recipes.digits import load_digits

    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    tf.config.threading.set_inter_op_parallelism_threads(args.threads)
    versions = {"keras": keras.__version__, "tensorflow": tf.__version__}
    digits, line = load_digits("scikit-learn" if args.smoke else "mnist")
    print(line)
    for run in args.run:
        data = Data(digits, run, args)
        for seed in args.seeds:
            result = {**one_run(run, seed, data, args), **versions}
            with log.open("a") as file:
                file.write(json.dumps(result) + "\n")
            print(json.dumps(result))
    table(log)


if __name__ == "__main__":
    main()
