"""A distiller's step and a fit on cached teachers, against what they must cost.

    python benchmarks/bench_distillation.py --core 1

`step` is one step of a `Distiller`, held against one call of the teacher and one step
of the student alone, one after another. `cached` is an epoch on data of `cache_logits`,
held against an epoch of the student alone on the same data, shuffled likewise. Both are
ratios; they take turns, and the median of each is shown. On a machine that does other
things as well, `--cpu-time` counts the seconds that the process itself had.
"""

import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from turns import bench_parser

# Hidden layers of teacher and student, and the batch.
CASES = [
    ((1200, 1200), (800, 800), 128),
    ((1200, 1200), (300, 100), 128),
    ((1200, 1200), (30, 30), 128),
    ((300, 100), (30,), 32),
]


def arguments():
    parser = bench_parser(__doc__, rounds=15, smoke="one small row")
    parser.add_argument("--cpu-time", action="store_true", help="not that of a clock")
    parser.add_argument("--steps", type=int, default=40, help="a round")
    parser.add_argument("--examples", type=int, default=12800, help="an epoch")
    return parser.parse_args()


def interleaved(args, functions, rounds):
    """The median time of each function in seconds, taken in turns."""
    now = time.process_time if args.cpu_time else time.perf_counter
    times = [[] for _ in functions]
    for turn in range(rounds + 1):
        for function, taken in zip(functions, times, strict=True):
            start = now()
            function()
            if turn:  # the first one traces and warms up
                taken.append(now() - start)
    return [statistics.median(taken) for taken in times]


def network(keras, hidden, activation):
    layers = [keras.layers.Dense(units, activation="relu") for units in hidden]
    return keras.Sequential(
        [keras.Input((784,)), *layers, keras.layers.Dense(10, activation=activation)]
    )


def compiled(keras, model):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), loss, metrics=["accuracy"])
    return model


def step_row(args, case, data):
    import keras
    import tensorflow as tf

    import keras_compress as kc

    teacher_units, student_units, batch = case
    teacher = network(keras, teacher_units, "softmax")
    alone = compiled(keras, network(keras, student_units, None))
    distiller = kc.Distiller(network(keras, student_units, None), teacher)
    compiled(keras, distiller)
    forward = tf.function(lambda x: teacher(x, training=False), autograph=False)
    x, y = (tf.constant(array[:batch]) for array in data)
    endless = tf.data.Dataset.from_tensors((x, y)).repeat()
    steps, iterators = [], []
    for model in (alone, distiller):
        model.make_train_function()
        steps.append(model.train_function)
        iterators.append(iter(endless))

    def separate():
        for _ in range(args.steps):
            forward(x)
            steps[0](iterators[0])

    def together():
        for _ in range(args.steps):
            steps[1](iterators[1])

    def student():
        for _ in range(args.steps):
            steps[0](iterators[0])

    times = interleaved(args, [separate, together, student], args.rounds)
    apart, one, only = (1e3 * taken / args.steps for taken in times)
    return {
        "what": "step",
        "apart ms": apart,
        "distiller ms": one,
        "student ms": only,
        "ratio": one / apart,
    }


def cached_row(args, case, data, shuffle):
    import keras
    import tensorflow as tf

    import keras_compress as kc

    teacher_units, student_units, batch = case
    teacher = network(keras, teacher_units, "softmax")
    alone = compiled(keras, network(keras, student_units, None))
    distiller = compiled(keras, kc.Distiller(network(keras, student_units, None)))
    size = len(data[0])
    examples = tf.data.Dataset.from_tensor_slices(data)
    plain = examples.shuffle(size) if shuffle else examples
    plain = plain.batch(batch).prefetch(tf.data.AUTOTUNE)
    with tempfile.TemporaryDirectory() as folder:
        cached = kc.distillation.cache_logits(
            *(teacher, examples.batch(batch), Path(folder) / "teacher.logits"),
            shuffle=size if shuffle else None,
        )
        times = interleaved(
            args,
            [
                lambda: alone.fit(plain, verbose=0),
                lambda: distiller.fit(cached, verbose=0),
            ],
            max(3, args.rounds // 3) if not args.smoke else 1,
        )
    steps = -(-size // batch)
    apart, one = (1e3 * taken / steps for taken in times)
    return {
        "what": "cached, shuffled" if shuffle else "cached",
        "apart ms": apart,
        "distiller ms": one,
        "student ms": apart,
        "ratio": one / apart,
    }


def conditions():
    import keras
    import tensorflow as tf

    from keras_compress import __version__

    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
    ).stdout.strip()
    return {
        "cpu": names[0] if names else platform.processor(),
        "python": platform.python_version(),
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "keras_compress": __version__,
        "commit": commit,
    }


def main():
    args = arguments()
    if args.core is not None:
        os.sched_setaffinity(0, {args.core})
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import numpy as np
    import tensorflow as tf
    from tabulate import tabulate

    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    tf.config.threading.set_inter_op_parallelism_threads(args.threads)
    cases = CASES
    if args.smoke:
        args.rounds, args.steps, args.examples, cases = 1, 2, 256, CASES[-1:]
    facts = conditions() | {"clock": "cpu" if args.cpu_time else "wall"}
    print(facts)
    random = np.random.default_rng(0)
    x = random.random((args.examples, 784), "float32")
    data = x, random.integers(10, size=len(x))
    rows = []
    for case in cases:
        name = " <- ".join("-".join(map(str, units)) for units in case[1::-1])
        for found in (
            step_row(args, case, data),
            cached_row(args, case, data, shuffle=False),
            cached_row(args, case, data, shuffle=True),
        ):
            rows.append({"student <- teacher": name, "batch": case[2], **found})
            if args.json:
                with open(args.json, "a") as file:
                    print(json.dumps(rows[-1] | facts), file=file)
    print(tabulate(rows, headers="keys", floatfmt=".3f"))


if __name__ == "__main__":
    main()
