"""`Formats`: the formats chosen for the layers of a model, as a mapping for `swap`."""

import dataclasses
from pathlib import Path

import numpy as np
from tabulate import tabulate

from keras_compress.functional.calibration import squared_error
from keras_compress.functional.fixed_point import overflow_share
from keras_compress.functional.q_format import QFormat
from keras_compress.report.plots import check_path


@dataclasses.dataclass(frozen=True)
class Choice:
    """The format that was chosen for one kind of numbers in one layer.

    Args:
        layer: The layer's path.
        kind: `"kernel"`, `"bias"`, `"inputs"`, `"pre_activations"` or `"outputs"`.
        format: The `QFormat`.
        low: The smallest number seen.
        high: The largest.
        overflow: Fraction of the numbers that have no room in the format, in `[0, 1]`.
        noise_db: What the error of the format is below the numbers, in decibels;
            infinite where there is none.
    """

    layer: str
    kind: str
    format: QFormat
    low: float
    high: float
    overflow: float
    noise_db: float


class Formats(dict):
    """A mapping from layers to configs that `keras_compress.swap` takes.

    It knows how well each format suits its numbers, too.

    Attributes:
        choices: List of `Choice`, in the order of the layers.

    Example:

    >>> Formats().to_markdown().splitlines()[0]
    '| layer   | kind   | format   | bits   | min   | max   | overflow   | noise   |'
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.choices = []
        self._samples = []

    def add(self, layer, kind, format, sample):
        """Notes a format and the sample that it was chosen for."""
        numbers = sample.numbers
        if kind == "kernel" and format.channels is not None:
            numbers = numbers.reshape(-1, format.channels)
        error = squared_error(numbers, format)
        power = float(np.mean(np.square(numbers, dtype=np.float64)))
        noise = 10 * np.log10(power / error) if error and power else float("inf")
        share = overflow_share(numbers, format)
        self.choices.append(
            Choice(layer, kind, format, sample.low, sample.high, share, float(noise))
        )
        self._samples.append(sample)

    def __str__(self):
        return self._table("simple")

    def to_markdown(self):
        """The choices as a table: one row for each layer and kind of numbers.

        Returns:
            A string.
        """
        return self._table("pipe")

    def _table(self, style):
        head = ("layer", "kind", "format", "bits", "min", "max", "overflow", "noise")
        rows = [
            (
                *(x.layer, x.kind, _short(x.format), x.format.bits),
                *(f"{x.low:.4g}", f"{x.high:.4g}", f"{x.overflow:.2%}"),
                "none" if np.isinf(x.noise_db) else f"-{x.noise_db:.1f} dB",
            )
            for x in self.choices
        ]
        return tabulate(rows, head, tablefmt=style, disable_numparse=True)

    def plot(self, path):
        """Draws the histograms of all numbers, with the range of their formats.

        Args:
            path: Path of the picture; its ending says the format.

        Returns:
            `path`, as a `pathlib.Path`.

        Raises:
            ImportError: If matplotlib is not installed.
            ValueError: If the path's ending is not that of a picture.
        """
        path = Path(path)
        check_path("path", path)
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        layers = list(dict.fromkeys(x.layer for x in self.choices))
        kinds = list(dict.fromkeys(x.kind for x in self.choices))
        size = (2.6 * len(kinds) + 0.6, 1.7 * len(layers) + 0.6)
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(len(layers), len(kinds), squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for choice, sample in zip(self.choices, self._samples, strict=True):
            row, column = layers.index(choice.layer), kinds.index(choice.kind)
            _draw(grid[row, column], choice, sample.numbers)
        figure.savefig(path, dpi=150)
        return path


def _short(format):
    if format.channels is None:
        point = "Q" if format.signed else "UQ"
        return f"{point}{format.integer_bits}.{format.fraction_bits}"
    return f"{format.channels} of {format.bits} bits"


def _draw(axes, choice, numbers):
    axes.set_axis_on()
    axes.hist(numbers, bins=64, color="#0072b2", log=True)
    for limit in (np.min(choice.format.min), np.max(choice.format.max)):
        if np.isfinite(limit):
            axes.axvline(limit, color="#d55e00", linewidth=1)
    axes.set_title(f"{choice.layer}: {choice.kind}\n{_short(choice.format)}", size=7)
    axes.tick_params(labelsize=6, length=2)
    axes.spines[["top", "right"]].set_visible(False)
