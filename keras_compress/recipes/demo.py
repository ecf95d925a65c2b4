"""The demo: train, prune, pack, export, compare, and serve in a fresh process."""

import dataclasses
import os
import platform
import shutil
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import keras_compress as kc
from keras_compress.recipes import digits as digits_module
from keras_compress.recipes import lenet_300_100, serving
from keras_compress.save import save_whole

SPARSITY = 0.92
EPOCHS = (15, 30)  # of the dense training, of the pruning


@dataclasses.dataclass(frozen=True)
class DemoResult:
    """What the demo found.

    Args:
        data: The line that says which data it ran on.
        report: The `Report`, dense beside packed.
        dense_error: Per cent of the test images, of the dense network.
        packed_error: The same, of the packed one.
        largest_difference: Between the served and the packed model's probabilities.
        different_labels: Test images that the two label differently.
        seconds: How long it took.
        folder: Where the files are.
    """

    data: str
    report: object
    dense_error: float
    packed_error: float
    largest_difference: float
    different_labels: int
    seconds: float
    folder: Path

    def to_dict(self):
        """All of it, as JSON knows it."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {
            **values,
            "report": self.report.to_dict(),
            "folder": str(self.folder),
            "native_status": kc.native_status(),
        }

    def summary(self):
        """The last lines, for people."""
        same = (
            "the same label for every test image"
            if self.different_labels == 0
            else f"another label for {self.different_labels} test images"
        )
        return (
            f"Served in a fresh process: {same}; the largest difference of a "
            f"probability is {self.largest_difference:.2g}.\n"
            f"{kc.native_status()}\n"
            f"{self.seconds:.0f} s. Files in {self.folder}: report.md, report.png, "
            "dense.keras, packed.keras, served/"
        )


def run(
    folder, *, source="auto", epochs=EPOCHS, seed=1, smoke=False, say=print, verbose=1
):
    """Runs the demo and writes its files.

    Args:
        folder: Directory for the files. What an earlier run left there is replaced.
        source: As of `load_digits`.
        epochs: Pair of positive integers: of the dense training, of the pruning.
        seed: Integer for all random numbers.
        smoke: Whether to only see that it runs, in seconds, on scikit-learn's digits.
        say: Function of a line of text, told what happens.
        verbose: As of `fit`.

    Returns:
        A `DemoResult`.

    Raises:
        OSError: If the files cannot be written.
    """
    start = time.monotonic()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if smoke:
        source, epochs = "scikit-learn", (4, 4)
    digits, data = digits_module.load_digits(source)
    say(data)
    keras.utils.set_random_seed(seed)

    say("Training the dense network.")
    dense = lenet_300_100.build(digits.x_train.shape[1])
    lenet_300_100.train(dense, digits, epochs=epochs[0], verbose=verbose)

    say(f"Pruning {SPARSITY:.0%} of its weights while training on.")
    small = lenet_300_100.prune(
        dense, digits, epochs=epochs[1], sparsity=SPARSITY, verbose=verbose
    )

    say("Packing, exporting and measuring.")
    # For batches: at batch 1 a network this small waits for TensorFlow, not for sums.
    packed = kc.pack(small, batch=64)
    dense.compile(loss=dense.loss, metrics=["accuracy"])  # without Adam's moments
    served = folder / "served"
    shutil.rmtree(served, ignore_errors=True)
    kc.export(packed, served)
    save_whole(dense, folder / "dense.keras")
    save_whole(packed, folder / "packed.keras")
    errors = [lenet_300_100.test_error(model, digits) for model in (dense, packed)]
    report = kc.report(
        dense,
        packed,
        names=["dense", "packed"],
        measure=True,
        activations=digits.x_test[:1000],
        extra={"test error": [f"{error:.2f} %" for error in errors]},
    )
    _write_report(report, folder, data, say)

    say("Serving it in a fresh process.")
    here = packed.predict(digits.x_test, batch_size=1000, verbose=0)
    there = serving.predict_in_fresh_process(served, digits.x_test)
    different = here.argmax(axis=-1) != there.argmax(axis=-1)
    return DemoResult(
        data=data,
        report=report,
        dense_error=errors[0],
        packed_error=errors[1],
        largest_difference=float(np.abs(here - there).max()),
        different_labels=int(np.count_nonzero(different)),
        seconds=time.monotonic() - start,
        folder=folder,
    )


def _write_report(report, folder, data, say):
    text = (
        f"# The demo of keras_compress\n\n{data}. {_machine()}\n\n"
        f"{report.to_markdown()}\n"
    )
    try:
        report.plot(folder / "report.png")
        text += "\n![The same as a picture](report.png)\n"
    except ImportError as error:
        say(str(error))
    (folder / "report.md").write_text(text, encoding="utf-8")


def _machine():
    """The machine and the versions that a measurement is worth nothing without."""
    processor = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                processor = line.split(":", 1)[1].strip()
                break
    return (
        f"{processor}, {os.cpu_count()} CPUs, {platform.system()}; TensorFlow "
        f"{tf.__version__}, Keras {keras.__version__}; {kc.native_status()}."
    )
