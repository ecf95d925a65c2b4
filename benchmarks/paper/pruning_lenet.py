"""LeNet-300-100 and LeNet-5 on MNIST: errors over weights kept, and Han's tables.

    python benchmarks/paper/pruning_lenet.py --net lenet-300-100 --seeds 1 2 3
    python benchmarks/paper/pruning_lenet.py --tables pruning_lenet.jsonl

One chain a seed: the dense network is trained, pruned to the first of `--kept`, trained
on, pruned to the next, and so on; weights are compared across layers. `--han` prunes
each layer to the density that Han has for it instead. With `--teacher` a network of
2 x 800 with dropout, trained on moved images, teaches it; `--jitter 1` moves the
student's images, too. Each row is a line of the log: settings, seed, errors on the test
images, time, and Han's columns layer by layer. `--held-out` keeps training images back
and counts errors on these, to choose settings by; the log then says so.
"""

import json
import os
import time
from pathlib import Path

from digit_runs import digit_parser, load, logger

# Per cent of the test images at per cent of weights kept: the best known and of whom.
PUBLISHED = {
    "lenet-300-100": {8: 1.43, 5: 1.47, 2: 1.80, 1.5: 1.92, 1: 2.36},
    "lenet-5": {8: 0.645, 2: 0.76, 1: 0.83},
}
HAN = {  # per cent of each layer's weights that Han keeps
    "lenet-300-100": {"fc1": 8, "fc2": 9, "fc3": 26},
    "lenet-5": {"conv1": 66, "conv2": 12, "fc1": 8, "fc2": 19},
}


def arguments():
    parser = digit_parser(__doc__, log="pruning_lenet.jsonl")
    add = parser.add_argument
    add("--net", choices=list(PUBLISHED), default="lenet-300-100")
    add("--kept", nargs="+", type=float, default=[8, 5, 2, 1.5, 1], help="per cent")
    add("--han", action="store_true", help="Han's density for each layer")
    add("--epochs", nargs=2, type=int, default=[15, 40], help="dense, and a density")
    add("--rates", nargs=2, type=float, default=[1e-3, 2e-3], help="of Adam")
    add("--dropout", type=float, default=0.0, help="hidden units of the dense net")
    add("--pattern", nargs=2, type=int, metavar=("IN", "OUT"), help="blocks of so many")
    add("--regrow", action="store_true", help="masked weights train on and compete")
    add("--teacher", metavar="FILE", help="trained first where it is not there")
    add("--teacher-epochs", type=int, default=25)
    add("--temperature", type=float, default=4.0)
    add("--alpha", type=float, default=0.9, help="weight of the teacher")
    add("--jitter", type=int, default=0, choices=(0, 1), help="pixels")
    add("--batch", type=int, default=128)
    add("--threads", type=int, default=1, help="of TensorFlow")
    add("--tables", metavar="LOG", help="print the tables of a log and end")
    return parser.parse_args()


def network(args, pixels):
    from keras import Input, Sequential, layers

    if args.net == "lenet-300-100":
        from keras_compress.recipes import lenet_300_100

        return lenet_300_100.build(pixels, dropout=args.dropout)
    side = round(pixels**0.5)
    window = 5 if side == 28 else 3
    return Sequential(
        [
            Input((pixels,)),
            layers.Reshape((side, side, 1), name="image"),
            layers.Conv2D(20, window, name="conv1"),
            layers.MaxPooling2D(name="pool1"),
            layers.Conv2D(50, window, padding="valid", name="conv2"),
            layers.MaxPooling2D(name="pool2", padding="same"),
            layers.Flatten(name="flat"),
            layers.Dense(500, activation="relu", name="fc1"),
            layers.Dropout(args.dropout, name="drop"),
            layers.Dense(10, activation="softmax", name="fc2"),
        ],
        name="lenet_5",
    )


def teacher(args, digits):
    """A wide network with dropout, trained on moved images; from its file if there.

    It never sees the last 5,000 training images, which settings may be chosen by.
    """
    import keras

    from keras_compress.recipes import hinton_2015

    path = Path(args.teacher)
    if path.exists():
        return keras.models.load_model(path)
    keras.utils.set_random_seed(0)
    units = 64 if args.smoke else 800
    model = hinton_2015.network(units, digits.x_train.shape[1], dropout=True)
    seen, jitter = slice(55_000), 0 if args.smoke else 2
    data = hinton_2015.batches(
        digits.x_train[seen], digits.y_train[seen], batch=250, jitter=jitter, seed=0
    )
    hinton_2015.train(model, data, epochs=args.teacher_epochs, momentum=0.95, verbose=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    model.save(path)
    return model


class Examples:
    """Training images, moved ones beside them, and what the teacher says of each."""

    def __init__(self, args, digits):
        import numpy as np

        from keras_compress.recipes.lenet_300_100 import test_error

        side = round(digits.x_train.shape[1] ** 0.5)
        whole = np.rint(255 * digits.x_train).astype("uint8").reshape(-1, side, side)
        reach = range(-args.jitter, args.jitter + 1)
        moved = [np.roll(whole, (y, x), (1, 2)) for y in reach for x in reach]
        self.images = np.concatenate(moved).reshape(-1, side * side)
        self.labels = digits.y_train
        self.batch = args.batch
        self.logits = self.teacher_error = None
        if args.teacher:
            model = teacher(args, digits)
            self.teacher_error = test_error(model, digits)
            parts = [
                model.predict(part / np.float32(255), batch_size=1000, verbose=0)
                for part in np.array_split(self.images, 9)
            ]
            self.logits = np.log(np.concatenate(parts).clip(1e-12))

    def epoch(self, seed):
        """A dataset of one epoch, every image once, where it happens to be moved."""
        import tensorflow as tf

        from keras_compress.distillation.cached_batch import CachedBatch

        count = len(self.labels)
        images, labels = tf.constant(self.images), tf.constant(self.labels)
        logits = None if self.logits is None else tf.constant(self.logits)
        copies = len(self.images) // count

        def taken(chosen):
            copy = tf.random.uniform(tf.shape(chosen), 0, copies, tf.int64, seed=seed)
            at = chosen + count * copy
            inputs = tf.cast(tf.gather(images, at), tf.float32) / 255.0
            if logits is not None:
                inputs = CachedBatch(inputs, ((tf.gather(logits, at),),))
            return inputs, tf.gather(labels, chosen)

        data = tf.data.Dataset.range(count).shuffle(count, seed=seed)
        return data.batch(self.batch).map(taken).prefetch(2)


def train(args, model, examples, epochs, rate, seed, callbacks=()):
    import keras

    import keras_compress as kc

    data = examples.epoch(seed)
    steps = epochs * int(data.cardinality())
    whole = model
    if examples.logits is not None:
        whole = kc.Distiller(model, temperature=args.temperature, alpha=args.alpha)
    whole.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps)),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        steps_per_execution=min(50, steps),
        jit_compile=False,
    )
    whole.fit(data, epochs=epochs, verbose=0, callbacks=list(callbacks))


def pruning(args, kept, before):
    """The callback for one density: that of all layers, or Han's for each."""
    import keras_compress as kc

    how = {"regrow": args.regrow}
    if not args.han:
        schedule = kc.schedules.Cubic(1 - kept / 100, initial=before, end=0.6)
        return kc.callbacks.IterativePruning(schedule, scope="global", **how)
    target = {name: 1 - share / 100 for name, share in HAN[args.net].items()}
    schedule = kc.schedules.Cubic(1.0, end=0.6)
    return kc.callbacks.IterativePruning(schedule, target=target, **how)


def columns(model, digits):
    """Han's columns of each layer and of the network, in per cent."""
    import keras_compress as kc

    cost = kc.report(model, activations=digits.x_test).models[0]
    rows = [*(layer for layer in cost.layers if layer.weights), cost]
    return [
        {
            "layer": "total" if row is cost else row.name,
            "weights": row.weights,
            "flop": 2 * row.multiply_adds,
            "activations": 100 * (1 - row.activation_sparsity)
            if row is cost
            else 100 * (1 - following(cost.layers, row)),
            "kept": 100 * (1 - row.sparsity),
            "flop_kept": 100 * row.remaining_work,
        }
        for row in rows
    ]


def following(layers, layer):
    """The share of zeros in what the next layer with weights reads of `layer`."""
    weighted = [other for other in layers if other.weights]
    place = weighted.index(layer) + 1
    if place == len(weighted):
        return layer.activation_sparsity
    return weighted[place].input_sparsity


def run(args, seed, digits, examples, log):
    import keras

    import keras_compress as kc
    from keras_compress.recipes.lenet_300_100 import test_error

    keras.utils.set_random_seed(seed)
    start = time.perf_counter()
    model = network(args, digits.x_train.shape[1])
    train(args, model, examples, args.epochs[0], args.rates[0], seed)
    dense = test_error(model, digits)
    log({"seed": seed, "asked": 100, "error": dense})
    pattern = tuple(args.pattern) if args.pattern else None
    small, before = kc.swap(model, kc.Prune(pattern=pattern)), 0.0
    for kept in args.kept[:1] if args.han else args.kept:
        callback = pruning(args, kept, before)
        train(args, small, examples, args.epochs[1], args.rates[1], seed, [callback])
        before = 1 - kept / 100
        log(
            {
                "seed": seed,
                "asked": "Han's" if args.han else kept,
                "error": test_error(small, digits),
                "dense_error": dense,
                "published": None if args.han else PUBLISHED[args.net].get(kept),
                "seconds": time.perf_counter() - start,
                "table": columns(small, digits),
            }
        )


def tables(path):
    """The log as Markdown: errors over densities, then Han's table of the best run."""
    import collections
    import statistics

    from tabulate import tabulate

    with open(path) as file:
        rows = [json.loads(line) for line in file]
    groups = collections.defaultdict(list)
    for row in rows:
        on = "held-out" if row["held_out"] else "test"
        how = "teacher" if row["teacher"] else "alone"
        how += ", moved" if row["jitter"] else ""
        # Rows from before there were blocks do not say.
        how += ", blocks of {}x{}".format(*row["pattern"]) if row.get("pattern") else ""
        groups[row["net"], on, how, str(row["asked"])].append(row)
    lines = []
    for (net, on, how, asked), found in groups.items():
        errors = [row["error"] for row in found]
        spread = statistics.stdev(errors) if len(errors) > 1 else float("nan")
        mean = statistics.mean(errors)
        goal = found[0].get("published")
        epochs = found[0]["epochs"]
        line = [net, how, on, asked, mean, spread, min(errors), goal, len(errors)]
        lines.append([*line, f"{epochs[0]} + {epochs[1]} each"])
    titles = "net training images kept% error% deviation least published seeds epochs"
    print(tabulate(lines, titles.split(), tablefmt="github", floatfmt=".2f"))
    for (net, on, how, asked), found in groups.items():
        if on == "test" and found[0].get("table") and asked in ("8.0", "8", "Han's"):
            row = min(found, key=lambda row: row["seed"])
            print(f"\n{net}, {how}, {asked} % kept, seed {row['seed']}", end="")
            print(f", error {row['error']:.2f} %\n")
            print(tabulate(row["table"], "keys", tablefmt="github", floatfmt=".1f"))


def main():
    args = arguments()
    if args.tables:
        tables(args.tables)
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    tf.config.threading.set_inter_op_parallelism_threads(args.threads)
    if args.smoke:
        args.epochs, args.kept, args.teacher_epochs = [2, 2], args.kept[:2], 2
    digits = load(args)
    examples = Examples(args, digits)
    print("teacher's error:", examples.teacher_error, flush=True)
    hidden = ("log", "tables", "seeds", "kept", "threads", "teacher")
    settings = {name: value for name, value in vars(args).items() if name not in hidden}
    settings["teacher"] = examples.teacher_error
    settings |= {"keras": keras.__version__, "tensorflow": tf.__version__}

    append = logger(args.log, ("seed", "asked", "error", "published", "seconds"))

    def log(row):
        append({**settings, **row})

    for seed in args.seeds:
        run(args, seed, digits, examples, log)


if __name__ == "__main__":
    main()
