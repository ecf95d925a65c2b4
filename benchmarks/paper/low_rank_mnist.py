"""MNIST at low rank: the accuracy of 784-1024x5-10 when its kernels are cut to rank K.

    python benchmarks/paper/low_rank_mnist.py --log low_rank_mnist.jsonl

A course's homework on this net (batch normalisation, ReLU, dropout 0.4, Adam 0.01,
batches of 512, 30 epochs) reports a test accuracy of 67.86, 93.86, 98.00, 98.42, 98.51
and 98.55 % at ranks 10, 20, 50, 100, 200 and full, by the SVD alone; rank 20, trained
on as factors, 97.99 % with 215,370 weights and biases against 5,012,490. The last layer
stays as it is. The dense net is trained once for each seed and kept in `--cache`. Every
run appends a line to the log. Nothing is chosen by the test images.
"""

import argparse
import json
import os
import time
from pathlib import Path

PUBLISHED = {10: 67.86, 20: 93.86, 50: 98.00, 100: 98.42, 200: 98.51, None: 98.55}
PUBLISHED_TRAINED = {20: 97.99}


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--smoke", action="store_true", help="small, on the digits of scikit-learn")
    add("--seeds", nargs="+", type=int, default=[1])
    add("--ranks", nargs="+", type=int, default=[10, 20, 50, 100, 200])
    add("--width", type=int, default=1024)
    add("--depth", type=int, default=5)
    add("--epochs", nargs=2, type=int, default=[15, 12], help="dense, and factors")
    add("--rates", nargs=2, type=float, default=[1e-2, 1e-3], help="of Adam")
    add("--batch", type=int, default=512)
    add("--calibration", type=int, default=5_000, help="images of the training set")
    add("--methods", nargs="+", default=["svd", "whitened_svd"])
    add("--distill", action="store_true", help="train on with the dense net as teacher")
    add("--dropout", type=float, default=0.4, help="while the factors are trained on")
    add("--jitter", type=int, default=0, help="pixels, while the factors train on")
    add("--trained", nargs="*", type=int, default=[20], help="ranks to train on")
    add("--cache", metavar="FOLDER", default="build/low_rank_mnist")
    add("--log", metavar="FILE", default="low_rank_mnist.jsonl")
    return parser.parse_args()


def load(smoke):
    from keras_compress.recipes import digits

    return digits.scikit_learn_digits() if smoke else digits.mnist()


def network(args, pixels):
    from keras import Input, Sequential, layers

    found = [Input((pixels,))]
    for number in range(1, args.depth + 1):
        found.append(layers.Dense(args.width, name=f"fc{number}"))
        found.append(layers.BatchNormalization(momentum=0.9))
        found.append(layers.ReLU())
        found.append(layers.Dropout(0.4))
    return Sequential([*found, layers.Dense(10, name="last", activation="softmax")])


def fit(args, model, data, epochs, rate, *, jitter=0, seed=None):
    import keras

    from keras_compress.recipes import hinton_2015

    steps = max(1, epochs * (len(data.x_train) // args.batch))
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps)),
        keras.losses.SparseCategoricalCrossentropy(),
        metrics=["accuracy"],
    )
    batches = hinton_2015.batches(
        *(data.x_train, data.y_train), batch=args.batch, jitter=jitter, seed=seed
    )
    model.fit(batches, epochs=epochs, verbose=2, shuffle=False)


def dense(args, seed, data):
    """The trained dense net, from the cache if it is there."""
    import keras

    path = Path(args.cache, f"{'smoke' if args.smoke else 'mnist'}_{seed}.keras")
    if not path.exists():
        keras.utils.set_random_seed(seed)
        model = network(args, data.x_train.shape[1])
        fit(args, model, data, args.epochs[0], args.rates[0], seed=seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        model.save(path)
    return keras.models.load_model(path)


def accuracy(model, data):
    import numpy as np

    scores = model.predict(data.x_test, batch_size=1000, verbose=0)
    return 100.0 * float(np.mean(scores.argmax(axis=-1) == data.y_test))


def parameters(model):
    """Weights and biases of the products; normalisation folds into them."""
    kinds = ("Dense", "LowRankDense", "ProjectedDense")
    layers = [x for x in model.layers if type(x).__name__ in kinds]
    return sum(layer.count_params() for layer in layers)


def run(args, seed, data):
    import keras

    import keras_compress as kc

    model = dense(args, seed, data)
    yield {"method": "dense", "rank": None, "accuracy": accuracy(model, data)} | {
        "parameters": parameters(model),
        "published": PUBLISHED[None],
    }
    calibration = data.x_train[: args.calibration]
    for rank in args.ranks:
        for method in args.methods:
            start = time.perf_counter()
            config = kc.LowRank(rank=rank, method=method)
            white = method == "whitened_svd"
            small = kc.swap(
                model, config, where="fc*", data=calibration if white else None
            )
            seconds = time.perf_counter() - start
            found = {"method": method, "rank": rank, "seconds": seconds}
            found |= {
                "accuracy": accuracy(small, data),
                "parameters": parameters(small),
            }
            yield found | {"published": PUBLISHED.get(rank) if not white else None}
            if white and rank in args.trained:
                keras.utils.set_random_seed(seed)
                start = time.perf_counter()
                for layer in small.layers:
                    if isinstance(layer, keras.layers.Dropout):
                        layer.rate = args.dropout
                found["method"] = "whitened_svd, trained on as factors"
                student = small
                if args.distill:
                    found["method"] += ", with a teacher"
                    student = kc.Distiller(small, model, temperature=4.0, alpha=0.9)
                if args.jitter:
                    found["method"] += f", on images moved by up to {args.jitter}"
                once = {"jitter": args.jitter, "seed": seed}
                fit(args, student, data, args.epochs[1], args.rates[1], **once)
                found["seconds"] = time.perf_counter() - start
                found["accuracy"] = accuracy(small, data)
                yield found | {"published": PUBLISHED_TRAINED.get(rank)}
                packed = kc.pack(small)
                found["method"] = "the same, packed"
                yield found | {"accuracy": accuracy(packed, data)}


def main():
    args = arguments()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if args.smoke:
        args.width, args.epochs, args.ranks = 64, [3, 3], [5, 20]
    import keras
    import tensorflow as tf
    from tabulate import tabulate

    data = load(args.smoke)
    rows = []
    for seed in args.seeds:
        for found in run(args, seed, data):
            row = {"seed": seed} | found
            rows.append(row)
            line = vars(args) | row | {"keras": keras.__version__}
            with open(args.log, "a") as file:
                print(json.dumps(line | {"tensorflow": tf.__version__}), file=file)
            print(json.dumps(row), flush=True)
    columns = ["seed", "method", "rank", "parameters", "accuracy", "published"]
    table = [[row.get(name) for name in columns] for row in rows]
    print(tabulate(table, headers=columns, floatfmt=".2f", tablefmt="github"))


if __name__ == "__main__":
    main()
