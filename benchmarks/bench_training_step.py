"""A training step of compressed layers beside one of `Dense`, in one process.

    taskset -c 0,1 python benchmarks/bench_training_step.py

Three layers of 1024 -> 1024, batch 128, Adam. The models take turns, so that whatever
else the machine does hits all of them; the ratio is that of the medians, of time on the
clock and of time that processors spent. The second one also counts on a busy machine.
"""

import argparse
import json
import os
import statistics
import time

SIZE, BATCH, DEPTH = 1024, 128, 3
GOALS = {"PrunedDense": 1.05, "BitwiseDense, stage 1": 1.25}
GOALS["BitwiseDense, stage 2"] = 1.25
GOALS["ProjectedDense, rank 20"] = 1.3


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="two rounds")
    parser.add_argument("--json", metavar="FILE", help="append one line a model")
    parser.add_argument("--threads", type=int, default=2, help="of TensorFlow")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--steps", type=int, default=5, help="steps a turn")
    parser.add_argument("--only", metavar="TEXT", help="models so named, beside Dense")
    return parser.parse_args()


def model_of(layer_class, prepare=None, **layer_arguments):
    import keras

    layers = [layer_class(SIZE, **layer_arguments) for _ in range(DEPTH)]
    model = keras.Sequential([keras.Input((SIZE,)), *layers])
    for layer in layers:
        if prepare is not None:
            prepare(layer)
    model.compile("adam", "mse")
    return model


def models():
    import keras

    import keras_compress as kc

    bitwise, pruned = kc.layers.BitwiseDense, kc.layers.PrunedDense
    units = {"activation": "bitwise"}
    return {
        "Dense": model_of(keras.layers.Dense, activation="tanh"),
        "PrunedDense": model_of(
            pruned, lambda layer: layer.prune(sparsity=0.5), activation="tanh"
        ),
        "BitwiseDense, stage 0": model_of(bitwise, **units),
        "BitwiseDense, stage 1": model_of(bitwise, lambda x: x.compress(), **units),
        "BitwiseDense, stage 2": model_of(bitwise, lambda x: x.binarize(), **units),
        "stage 2, sparsity 0.5": model_of(bitwise, lambda x: x.binarize(0.5), **units),
        "stage 2, lecture": model_of(
            bitwise, lambda x: x.binarize(), gradient="lecture", **units
        ),
        "stage 2, scale": model_of(
            bitwise, lambda x: x.binarize(), scale=True, **units
        ),
        "LowRankDense, rank 20": model_of(
            kc.layers.LowRankDense, rank=20, activation="tanh"
        ),
        "ProjectedDense, rank 20": model_of(
            kc.layers.ProjectedDense, rank=20, activation="tanh"
        ),
    }


def steps_of(model, count):
    """A function that trains `model` for so many steps, as `fit` would."""
    import numpy as np
    import tensorflow as tf

    random = np.random.default_rng(0)
    inputs = random.standard_normal((BATCH, SIZE)).astype("float32")
    targets = random.standard_normal((BATCH, SIZE)).astype("float32")
    data = tf.data.Dataset.from_tensors((inputs, targets)).repeat()
    iterator = iter(data)
    model.make_train_function()
    step = model.train_function

    def run():
        for _ in range(count):
            logs = step(iterator)
        float(logs["loss"])

    return run


def main():
    args = arguments()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf
    from tabulate import tabulate

    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    tf.config.threading.set_inter_op_parallelism_threads(args.threads)
    rounds, steps = (2, 1) if args.smoke else (args.rounds, args.steps)
    chosen = models()
    if args.only:
        wanted = {"Dense"} | {name for name in chosen if args.only in name}
        chosen = {name: chosen[name] for name in chosen if name in wanted}
    runs = {name: steps_of(model, steps) for name, model in chosen.items()}
    times = {name: [] for name in runs}
    spent = {name: [] for name in runs}
    for run in runs.values():  # traces and warms up
        run()
    for _ in range(rounds):
        for name, run in runs.items():
            start, start_cpu = time.perf_counter(), time.process_time()
            run()
            times[name].append((time.perf_counter() - start) / steps)
            spent[name].append((time.process_time() - start_cpu) / steps)
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    busy = {name: statistics.median(taken) for name, taken in spent.items()}
    rows = []
    for name, median in medians.items():
        row = {"model": name, "ms / step": 1e3 * median}
        row["/ Dense"] = median / medians["Dense"]
        row |= {"cpu ms": 1e3 * busy[name], "cpu / Dense": busy[name] / busy["Dense"]}
        row["goal"] = GOALS.get(name)
        rows.append(row)
        if args.json:
            with open(args.json, "a") as file:
                print(json.dumps(row | {"tensorflow": tf.__version__}), file=file)
    print(tabulate(rows, headers="keys", floatfmt=".3f"))


if __name__ == "__main__":
    main()
