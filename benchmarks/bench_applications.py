"""Swaps every model of keras.applications that builds offline, and times it.

    python benchmarks/bench_applications.py [--smoke] [--json]

For each model: how many Dense, Conv1D, Conv2D and DepthwiseConv2D layers there are
and were swapped, whether the outputs are the same bit for bit, and the seconds that
building and swapping took.
Exits with 1 if a layer was missed or an output differs.
"""

import argparse
import inspect
import json
import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from tabulate import tabulate

import keras_compress as kc

PRUNABLE = (
    keras.layers.Dense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
)
SMOKE = ["MobileNetV2"]
# Inputs of this size, where a family does not insist on its own.
SIZE = 96
LARGER = {"InceptionResNetV2": 139, "InceptionV3": 139, "Xception": 139}
OWN_SIZE = ("NASNet",)


def families():
    """The names of all model functions in keras.applications."""
    return sorted(
        name
        for name, value in vars(keras.applications).items()
        if inspect.isfunction(value) and name[0].isupper()
    )


def build(name):
    """The model without trained weights, its variables scrambled."""
    size = LARGER.get(name, SIZE)
    shape = None if name.startswith(OWN_SIZE) else (size, size, 3)
    model = getattr(keras.applications, name)(weights=None, input_shape=shape)
    random = np.random.default_rng(0)
    for variable in model.trainable_variables:
        noise = 0.01 * random.standard_normal(variable.shape, "float32")
        variable.assign(variable.numpy() + noise)
    return model


def row(name):
    """One model's line of the table."""
    keras.backend.clear_session()
    start = time.perf_counter()
    model = build(name)
    built = time.perf_counter()
    swapped = kc.swap(model, kc.Prune())
    done = time.perf_counter()
    wanted = sum(type(layer) in PRUNABLE for layer in model.layers)
    found = sum(type(layer).__name__.startswith("Pruned") for layer in swapped.layers)
    inputs = np.random.default_rng(1).random((1, *model.input_shape[1:]), "float32")
    same = np.array_equal(model(inputs), swapped(inputs))
    return {
        "model": name,
        "layers": wanted,
        "swapped": found,
        "same outputs": same,
        "build s": round(built - start, 2),
        "swap s": round(done - built, 2),
    }


def main():
    """Prints the table, or JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="one small model")
    parser.add_argument("--json", action="store_true", help="JSON lines")
    parser.add_argument("names", nargs="*", help="models; all by default")
    arguments = parser.parse_args()
    names = SMOKE if arguments.smoke else arguments.names or families()
    rows = []
    for name in names:
        rows.append(row(name))
        if arguments.json:
            print(json.dumps(rows[-1]), flush=True)
        else:
            print(f"{len(rows)}/{len(names)} {name}", file=sys.stderr)
    if not arguments.json:
        print(tabulate(rows, headers="keys"))
    return not all(r["same outputs"] and r["layers"] == r["swapped"] for r in rows)


if __name__ == "__main__":
    sys.exit(main())
