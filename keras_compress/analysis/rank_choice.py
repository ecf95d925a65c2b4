"""The ranks chosen for a model: a mapping for `swap`, a table and a picture."""

import dataclasses
from pathlib import Path

from tabulate import tabulate

from keras_compress.functional.ranks import kept_energy
from keras_compress.report.plots import COLOURS, check_path
from keras_compress.report.tables import DASH


@dataclasses.dataclass(frozen=True)
class LayerRank:
    """What was found of one layer.

    Args:
        path: The layer's name behind those of the models around it.
        shape: Shape of the kernel.
        rank: The rank, or `None` where the layer stays dense.
        largest: The sides of the kernel as a matrix, the smaller one.
        weights: Weights of the kernel.
        kept_weights: Weights of what takes its place.
        multiply_adds: Multiply-adds of the kernel, for one example, or `None`: they
            depend on the shape of the inputs, and there were no data.
        kept_multiply_adds: Those of what takes its place, or `None`.
        error: Relative error, of the model's outputs if they were measured with this
            layer alone at its rank, else of the kernel; 0 where it stays dense.
        spectrum: Singular values of the kernel as a matrix, falling.
    """

    path: str
    shape: tuple
    rank: int | tuple | None
    largest: int
    weights: int
    kept_weights: int
    multiply_adds: int | None
    kept_multiply_adds: int | None
    error: float
    spectrum: tuple


class RankChoice(dict):
    """A mapping from paths of layers to `LowRank` configs, as `swap` takes it.

    Layers that stay dense are not in the mapping, but in the table.

    Args:
        configs: Mapping from paths to configs.
        layers: Sequence of `LayerRank`, of all layers that were looked at.
        error: Relative error of the model's outputs with all ranks together, measured
            on the data, or `None`.

    Example:

    >>> layers = [keras.Input((64,)), keras.layers.Dense(64, name="fc")]
    >>> model = keras.Sequential(layers)
    >>> choice = keras_compress.analysis.choose_ranks(model, params=0.25)
    >>> choice["fc"].rank
    8
    """

    def __init__(self, configs, layers, error=None):
        super().__init__(configs)
        self.layers = tuple(layers)
        self.error = error

    def __str__(self):
        return self._table("simple")

    def to_markdown(self):
        """The table in Markdown."""
        return self._table("github")

    def plot(self, path):
        """Draws each layer's energy over its rank, and where it is cut.

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

        figure = Figure(figsize=(8, 5), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        for number, layer in enumerate(self.layers):
            colour = COLOURS[1 + number % (len(COLOURS) - 1)]
            lost = 1.0 - kept_energy(layer.spectrum)
            ranks = range(1, len(lost) + 1)
            axes.semilogy(ranks, lost.clip(1e-9), color=colour, label=layer.path)
            if isinstance(layer.rank, int) and layer.rank <= len(lost):
                at = layer.rank, max(lost[layer.rank - 1], 1e-9)
                axes.plot(*at, "o", color=colour)
        axes.set_xscale("log")
        axes.set_xlabel("rank; dots: chosen")
        axes.set_ylabel("energy of the kernel that is lost")
        axes.spines[["top", "right"]].set_visible(False)
        if 0 < len(self.layers) <= 16:
            axes.legend(frameon=False)
        figure.savefig(path, dpi=150)
        return path

    def _table(self, style):
        titles = ("layer", "kernel", "rank", "weights", "multiply-adds", "error")
        rows = []
        for layer in self.layers:
            rank = "dense" if layer.rank is None else layer.rank
            shape = " x ".join(map(str, layer.shape))
            row = [layer.path, shape, f"{rank} of {layer.largest}"]
            row.append(_from_to(layer.weights, layer.kept_weights))
            row.append(_from_to(layer.multiply_adds, layer.kept_multiply_adds))
            rows.append([*row, f"{layer.error:.4f}"])
        total = ["together", "", ""]
        for one, other in (
            ("weights", "kept_weights"),
            ("multiply_adds", "kept_multiply_adds"),
        ):
            before = [getattr(layer, one) for layer in self.layers]
            after = [getattr(layer, other) for layer in self.layers]
            known = None not in before
            total.append(_from_to(sum(before), sum(after)) if known else DASH)
        error = "" if self.error is None else f"{self.error:.4f}"
        return tabulate([*rows, [*total, error]], headers=titles, tablefmt=style)


def _from_to(before, after):
    if before is None:
        return DASH
    return f"{before:,} -> {after:,}" if before != after else f"{before:,}"
