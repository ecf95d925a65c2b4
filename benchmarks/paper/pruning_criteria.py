"""Errors after one shot of pruning, without any retraining, for each criterion.

    python benchmarks/paper/pruning_criteria.py [--log FILE] [--smoke]

A trained LeNet-300-100 or LeNet-5 (`lenet_300_100_dense.keras`, `lenet5_dense.keras` in
`KERAS_COMPRESS_DATA/pretrained`) loses 50, 80 and 90 % of the weights of every layer by
the criteria of `keras_compress.prune`. Gradients and inputs are those of 2,000 training
images; the errors are of the 10,000 test images. Nothing is trained, so there is no
seed. One line of JSON a result.
"""

import argparse
import json
import os
import time
from pathlib import Path

import keras
import numpy as np

import keras_compress as kc
from keras_compress.functional.criteria import per_output
from keras_compress.recipes.digits import load_digits

NETWORKS = {"lenet_300_100": "lenet_300_100_dense", "lenet_5": "lenet5_dense"}
SPARSITIES = (0.5, 0.8, 0.9)


def wanda_per_output(kernel, known):
    """The paper's choice: the same share of every output's weights."""
    return per_output(np.abs(kernel) * known.input_norms)


# By name: the criterion, and whether the weights that stay are fitted to data.
WAYS = {
    "magnitude": ("magnitude", False),
    "magnitude, refit": ("magnitude", True),
    "gradient": ("gradient", False),
    "activation": ("activation", False),
    "activation, per output": (wanda_per_output, False),
    "activation, refit": ("activation", True),
    "brain surgeon": ("brain_surgeon", True),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--sparsities", nargs="+", type=float, default=SPARSITIES)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--log", help="JSON lines are added to this file")
    parser.add_argument("--smoke", action="store_true", help="one sparsity, few images")
    options = parser.parse_args()
    if options.smoke:
        options.networks, options.sparsities = ["lenet_300_100"], [0.8]
        options.ways, options.examples = ["magnitude", "activation"], 200

    folder = os.environ.get("KERAS_COMPRESS_DATA")
    if not folder:
        raise SystemExit("Set KERAS_COMPRESS_DATA to a folder with pretrained/ in it.")
    digits, line = load_digits("auto")
    print(line)
    for network in options.networks:
        path = Path(folder) / "pretrained" / f"{NETWORKS[network]}.keras"
        model = keras.models.load_model(path)
        model.compile(loss="sparse_categorical_crossentropy")
        shape = (-1, *model.input_shape[1:])
        x, y = digits.x_train[: options.examples], digits.y_train[: options.examples]
        x, test = x.reshape(shape), digits.x_test.reshape(shape)
        say(options.log, network=network, way="dense", error=error(model, test, digits))
        for sparsity in options.sparsities:
            for way in options.ways:
                criterion, refit = WAYS[way]
                small = kc.swap(model, kc.Prune())
                data = None if way == "magnitude" else x
                targets = y if way == "gradient" else None
                start = time.perf_counter()
                kc.prune(
                    *(small, sparsity),
                    criterion=criterion,
                    data=data,
                    targets=targets,
                    refit=refit,
                )
                seconds = time.perf_counter() - start
                say(
                    options.log,
                    network=network,
                    way=way,
                    sparsity=sparsity,
                    error=error(small, test, digits),
                    seconds=round(seconds, 1),
                    examples=0 if data is None else len(x),
                )


def error(model, test, digits):
    """Test error in per cent."""
    found = model.predict(test, batch_size=500, verbose=0).argmax(axis=1)
    return round(100 * float(np.mean(found != digits.y_test)), 2)


def say(log, **result):
    line = json.dumps(result)
    print(line, flush=True)
    if log:
        with open(log, "a") as file:
            file.write(line + "\n")


if __name__ == "__main__":
    main()
