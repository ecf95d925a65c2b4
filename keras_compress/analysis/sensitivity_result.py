"""`Sensitivity`: errors over what is taken from each layer; table, picture, budgets."""

import dataclasses
from pathlib import Path

import numpy as np
from tabulate import tabulate

from keras_compress._validation import check_real, invalid
from keras_compress.functional import budgets
from keras_compress.report.plots import COLOURS, check_path

SPARSITY, SAVED, BITS = "sparsity", "weights saved", "fraction bits"
SHARES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)  # the ticks of a picture


@dataclasses.dataclass(frozen=True)
class LayerSensitivity:
    """What happens to the model when this layer alone is compressed.

    Args:
        path: The layer's name behind those of the models around it.
        weights: Weights of its kernel.
        multiply_adds: Those of its kernel, for one example, or `None`: they depend on
            the shape of the inputs, and there were no data.
        levels: Tuple of how far it was compressed.
        errors: Tuple of the errors there.
        retrained: Tuple of the errors there after retraining, or `None`.
    """

    path: str
    weights: int
    multiply_adds: int | None
    levels: tuple
    errors: tuple
    retrained: tuple | None = None


@dataclasses.dataclass(frozen=True)
class Sensitivity:
    """Errors of a model over how far each of its layers is compressed, alone.

    Args:
        technique: Name of the config, such as `"Prune"`.
        title: What a level is: `"sparsity"`, `"weights saved"` (both in `[0, 1]`), or
            `"fraction bits"`.
        measure: What an error is: `"error"`, the fraction of wrong answers, or the name
            of what was measured instead.
        baseline: The error of the model as it is.
        layers: Tuple of `LayerSensitivity`.
        epochs: Of the retraining, 0 if there was none.

    Example:

    >>> layer = LayerSensitivity("fc", 100, 100, (0.5, 0.9), (0.02, 0.4))
    >>> found = Sensitivity("Prune", "sparsity", "error", 0.01, (layer,))
    >>> found.budget(rise=0.01)
    {'fc': 0.5}
    """

    technique: str
    title: str
    measure: str
    baseline: float
    layers: tuple
    epochs: int = 0

    def budget(self, *, weights=None, multiply_adds=None, rise=None):
        """A sparsity for each layer, as `IterativePruning(target=)` takes them.

        Exactly one argument is given. Errors after retraining are what counts, where
        they were measured; between two levels they are taken to change evenly.

        Args:
            weights: How many weights of these layers may stay: a float in `(0, 1]` as a
                share, or an integer. Layers that suffer less give more, so that the
                rises of the error, added up, are smallest.
            multiply_adds: The same for multiply-adds, for one example.
            rise: How much the error may rise by each layer alone, > 0.

        Returns:
            Dict from the paths of the layers to sparsities.

        Raises:
            ValueError: If not exactly one argument is given, it is out of range, more
                is to go than was tried, or levels are no sparsities.

        Reference:
            - `rise`: [Han et al., 2015](https://arxiv.org/abs/1506.02626), section 5
            - the others, as [Zhang et al., 2016](https://arxiv.org/abs/1505.06798),
              section 3.4, choose ranks
        """
        if self.title != SPARSITY:
            expected = f"that of pruning, for {self.technique} has no sparsities"
            raise invalid("technique", expected, self.technique)
        given = {"weights": weights, "multiply_adds": multiply_adds, "rise": rise}
        given = {name: value for name, value in given.items() if value is not None}
        if len(given) != 1:
            raise ValueError(
                "`budget` takes exactly one of `weights`, `multiply_adds` and `rise`. "
                f"Received: {given or 'none of them'}"
            )
        ((name, amount),) = given.items()
        curves = [self._rises(layer) for layer in self.layers]
        if name == "rise":
            most = check_real("rise", amount, above=0.0)
            found = [budgets.level_at(*curve, most) for curve in curves]
        else:
            costs = [getattr(layer, name) for layer in self.layers]
            if None in costs:
                raise ValueError(
                    "`multiply_adds` depend on the shape of the inputs, which is not "
                    "known without data. Give `sensitivity` its `data`, with `error`, "
                    "too."
                )
            left = budgets.check_budget(name, amount, sum(costs))
            found = budgets.least_damage(curves, costs, sum(costs) - left)
            if found is None:
                least = sum(
                    cost * (1.0 - levels[-1])
                    for cost, (levels, _) in zip(costs, curves, strict=True)
                )
                expected = f"at least {round(least):,} with these levels"
                raise invalid(name, expected, amount)
        paths = [layer.path for layer in self.layers]
        return dict(zip(paths, found, strict=True))

    def to_dict(self):
        """All numbers, as JSON knows them."""
        return dataclasses.asdict(self)

    def to_markdown(self):
        """The table in Markdown: errors, a row a layer, a column a level."""
        return self._table("github")

    def __str__(self):
        return self._table("simple")

    def plot(self, path):
        """Draws the error over the level, a line a layer; on the right, retrained.

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

        panels = [("as it is", "errors")]
        if self.epochs:
            epochs = "1 epoch" if self.epochs == 1 else f"{self.epochs} epochs"
            panels.append((f"retrained for {epochs}", "retrained"))
        figure = Figure(figsize=(2.5 + 5 * len(panels), 4.5), layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (title, name) in zip(grid, panels, strict=True):
            self._draw(axes, name)
            axes.set_title(title, loc="left")
        grid[0].set_ylabel(self._label())
        if 0 < len(self.layers) <= 16:
            handles, labels = grid[0].get_legend_handles_labels()
            where = "outside right upper"
            figure.legend(handles, labels, loc=where, frameon=False)
        figure.savefig(path, dpi=150)
        return path

    def _rises(self, layer):
        errors = layer.errors if layer.retrained is None else layer.retrained
        pairs = sorted(zip(layer.levels, errors, strict=True))
        pairs = [(0.0, self.baseline), *(pair for pair in pairs if pair[0] > 0.0)]
        levels, errors = map(np.array, zip(*pairs, strict=True))
        # A little pruning or training on can help: that is no damage.
        return levels, np.maximum(errors - self.baseline, 0.0)

    def _label(self):
        return "errors in %" if self.measure == "error" else self.measure

    def _shown(self, errors):
        return 100.0 * np.asarray(errors) if self.measure == "error" else errors

    def _draw(self, axes, name):
        for number, layer in enumerate(self.layers):
            colour = COLOURS[1 + number % (len(COLOURS) - 1)]
            line = "-" if number < len(COLOURS) - 1 else "--"
            levels, errors = layer.levels, getattr(layer, name)
            if self.title != BITS:
                levels = 1.0 - np.asarray(levels)
            axes.plot(
                *(levels, self._shown(errors)),
                *(line,),
                marker="o",
                markersize=3,
                color=colour,
                label=layer.path,
            )
        baseline = self._shown(self.baseline)
        axes.axhline(baseline, color=COLOURS[0], zorder=0, label="the model as it is")
        if self.baseline > 0.0:
            axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(_one_two_five)
        if self.title == BITS:
            axes.set_xlabel(self.title)
        else:
            axes.set_xscale("log")
            axes.set_xticks(SHARES, [f"{100 * share:g} %" for share in SHARES])
            axes.minorticks_off()
            axes.yaxis.minorticks_on()
            least = min(1.0 - max(layer.levels) for layer in self.layers)
            axes.set_xlim(1.05, max(least, 1e-3) / 1.05)
            axes.set_xlabel("weights that are kept")
        axes.grid(color="#e8e8e8", zorder=0)
        axes.spines[["top", "right"]].set_visible(False)

    def _table(self, style):
        levels = sorted({level for layer in self.layers for level in layer.levels})
        rows = []
        for layer in self.layers:
            kinds = [(layer.path, layer.errors)]
            if layer.retrained is not None:
                kinds.append(("  retrained", layer.retrained))
            for title, errors in kinds:
                known = dict(zip(layer.levels, errors, strict=True))
                cells = [self._cell(known.get(level)) for level in levels]
                weights = f"{layer.weights:,}" if title == layer.path else ""
                rows.append([title, weights, *cells])
        unit = " (%)" if self.measure == "error" else ""
        titles = [f"{self.measure}{unit} at {self.title}", "weights"]
        titles += [f"{level:g}" for level in levels]
        rows.append(["as it is", "", self._cell(self.baseline)])
        align = ["left"] + ["right"] * (len(titles) - 1)
        return tabulate(
            rows, titles, tablefmt=style, colalign=align, disable_numparse=True
        )

    def _cell(self, error):
        if error is None:
            return ""
        return (
            f"{self._shown(error):.2f}" if self.measure == "error" else f"{error:.4g}"
        )


def _one_two_five(value, position):
    """Labels for the ticks between powers of ten: 2 and 5, with what they stand for."""
    return f"{value:g}" if f"{value:e}"[0] in "25" else ""
