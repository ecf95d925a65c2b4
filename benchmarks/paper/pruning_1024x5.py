"""The lecture's 784-1024^5-10 on MNIST: half of its weights, cut without retraining.

    python benchmarks/paper/pruning_1024x5.py --log pruning_1024x5.jsonl

There it has 1.25 % errors, and 1.64 % when weights below 0.1 in size are zeros, which
is half of them. How many that is hangs on the scale of the weights, see `wide_net.py`.
Beside the threshold in the unit of the weights stand the one by deviations of each
layer that cuts as many (Han's quality), and the smallest half of all weights together.
Each row is a line of the log: its settings, seed, errors on the test images and time;
`--held-out` keeps training images back and counts errors on these.
"""

import os
import time

import wide_net
from digit_runs import digit_parser, load, logger, train

PUBLISHED = {"dense": 1.25, "threshold": 1.64}


def arguments():
    parser = digit_parser(__doc__, log="pruning_1024x5.jsonl")
    wide_net.add_arguments(parser)
    add = parser.add_argument
    add("--threshold", type=float, default=0.1)
    add("--retrain", type=int, default=0, help="epochs behind the cut, as a row more")
    return parser.parse_args()


def run(args, seed, digits, log):
    import numpy as np

    import keras_compress as kc
    from keras_compress.layers.pruned import is_pruned, prune_together, total_sparsity
    from keras_compress.recipes.lenet_300_100 import test_error

    start = time.perf_counter()

    def note(how, model, **more):
        row = {"how": how, "error": test_error(model, digits), "seed": seed, **more}
        row["published"] = PUBLISHED.get(how)
        log(row | {"seconds": time.perf_counter() - start})

    model, loss, facts = wide_net.trained(args, seed, digits)
    small = kc.swap(model, kc.Prune())
    layers = [layer for layer in small.layers if is_pruned(layer)]
    note("dense", small, **facts)

    def whole():
        for layer in layers:
            layer.mask.assign(np.ones(layer.mask.shape, bool))

    for layer in layers:
        layer.prune(threshold=args.threshold)
    cut = total_sparsity(layers)
    note("threshold", small, sparsity=cut)
    whole()
    # The share of a normal distribution within 0.6745 deviations is a half.
    for layer in layers:
        layer.prune(quality=0.6745)
    note("quality", small, sparsity=total_sparsity(layers))
    whole()
    prune_together(layers, 0.5)
    note("half of all", small, sparsity=total_sparsity(layers))
    if args.retrain:
        train(args, small, digits, loss, args.retrain, args.rate / 10)
        note("half of all, retrained", small, sparsity=total_sparsity(layers))


def main():
    args = arguments()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if args.smoke:
        args.width, args.depth, args.epochs, args.batch = 64, 2, 8, 32
        args.retrain = 1
    digits = load(args)
    hidden = ("log", "seeds", "smoke", "folder")
    settings = {name: value for name, value in vars(args).items() if name not in hidden}
    append = logger(args.log, ("how", "error", "published", "sparsity", "seconds"))
    for seed in args.seeds:
        run(args, seed, digits, lambda row: append({**settings, **row}))


if __name__ == "__main__":
    main()
