"""A mask update of the largest layer of VGG-16 beside `np.partition` of its weights.

    taskset -c 1 python benchmarks/bench_mask_update.py

Kernel of 25088 x 4096, float32. What `IterativePruning` does at an update is
`layer.prune(sparsity=...)`: read the kernel and the mask, find the new mask, assign it.
The least of some rounds, in turns; the ratio is to `np.partition` of the absolute
values, which is what finding a threshold takes at least.
"""

import argparse
import json
import os
import time


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a small layer, one round")
    parser.add_argument("--json", metavar="FILE", help="append one line a case")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def main():
    args = arguments()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import numpy as np
    from tabulate import tabulate

    import keras_compress as kc

    shape = (256, 128) if args.smoke else (25088, 4096)
    layer = kc.layers.PrunedDense(shape[1], kernel_initializer="zeros")
    layer.build((None, shape[0]))
    random = np.random.default_rng(0)
    kernel = random.standard_normal(shape, dtype="float32")
    layer.kernel.assign(kernel)
    scores = np.abs(kernel).ravel()
    cases = {
        "np.partition": lambda: np.partition(scores, scores.size // 2),
        "first mask": lambda: layer.prune(sparsity=0.5),
        "next mask": lambda: layer.prune(sparsity=0.8),
        "spliced mask": lambda: layer.prune(sparsity=0.9, splice=True),
    }
    times = {name: [] for name in cases}
    for _ in range(1 if args.smoke else args.rounds):
        layer.mask.assign(np.ones(shape, bool))
        for name, call in cases.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    least = {name: min(taken) for name, taken in times.items()}
    rows = [
        {"case": name, "seconds": taken, "ratio": taken / least["np.partition"]}
        for name, taken in least.items()
    ]
    if args.json:
        with open(args.json, "a") as file:
            for row in rows:
                print(json.dumps(row), file=file)
    print(tabulate(rows, "keys", floatfmt=".2f"))


if __name__ == "__main__":
    main()
