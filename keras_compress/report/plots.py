"""The report as a picture: costs beside the first model's, and weights kept."""

from keras_compress._validation import invalid
from keras_compress.report import tables

# Grey for the reference, then colours that also differ to the colour-blind.
COLOURS = ("#9aa0a6", "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
MOST_BARS = 16


def plot(report, path):
    """Draws a report into a file.

    Args:
        report: A `Report`.
        path: `pathlib.Path` of the picture; its ending says the format.

    Returns:
        `path`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If the path's ending is not that of a picture.
    """
    check_path("path", path)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = _cost_rows(report)
    layers = _layer_names(report)
    shown = len(layers) if len(layers) <= MOST_BARS else 0
    bars = max(len(rows), shown) * len(report.models)
    # Not pyplot: no window, and the caller's figures and backend are left alone.
    figure = Figure(figsize=(13, 1.8 + 0.24 * max(bars, 14)), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    _draw_costs(left, report, rows)
    if shown:
        _draw_layer_bars(right, report, layers)
    else:
        _draw_layer_lines(right, report, layers)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(length=0)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside upper center",
        ncols=min(len(labels), 4),
        frameon=False,
    )
    figure.savefig(path, dpi=150)
    return path


def check_path(name, path):
    """Whether matplotlib is there and can draw what the ending of a path says.

    Args:
        name: The argument that the path came by, for the message.
        path: `pathlib.Path`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If the path's ending is not that of a picture.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
    except ImportError as error:
        raise ImportError(
            "`Report.plot` needs matplotlib, which is not installed. Install it with: "
            'pip install "keras-compress[plots]"'
        ) from error
    endings = [f".{kind}" for kind in sorted(FigureCanvasAgg.get_supported_filetypes())]
    if path.suffix.lower() not in endings:
        expected = f"a path that ends in one of {', '.join(endings)}"
        raise invalid(name, expected, str(path))


def _cost_rows(report):
    """`(title, values, unit)` of each cost that the first model has."""
    models = report.models
    rows = [
        ("memory", [m.memory_bytes for m in models], tables.byte_size),
        (".keras file", [m.keras_bytes for m in models], tables.byte_size),
        ("file of kc.save", [m.deflated_bytes for m in models], tables.byte_size),
        ("SavedModel", [m.saved_model_bytes for m in models], tables.byte_size),
        (
            "multiply-adds\nof kept weights",
            [m.effective_multiply_adds for m in models],
            tables.count,
        ),
        ("energy, estimated", [m.energy_pj for m in models], tables.energy),
    ]
    rows += [
        (f"latency,\nbatch {b}", [m.latency.get(b) for m in models], tables.seconds)
        for b in report.batches
    ]
    return [row for row in rows if row[1][0]]


def _draw_costs(axes, report, rows):
    for index, model in enumerate(report.models):
        for position, (_, values, unit) in enumerate(rows):
            if values[index] is None:
                continue
            y = _offset(position, index, len(report.models))
            width = values[index] / values[0]
            _bar(axes, y, width, index, report, None if position else model.name)
            text = unit(values[index])
            if index:
                text += tables.factor(values[0], values[index])
            _label(axes, y, width, text)
    axes.set_title("Cost, the first model = 1", loc="left", fontweight="bold")
    _finish(axes, [row[0] for row in rows], _largest(rows) * 1.32)


def _draw_layer_bars(axes, report, names):
    for index, model in enumerate(report.models):
        kept = _kept_by_layer(model)
        for position, name in enumerate(names):
            if name not in kept:
                continue
            share, weights = kept[name]
            y = _offset(position, index, len(report.models))
            _bar(axes, y, share, index, report, None)
            _label(axes, y, share, f"{100 * share:.3g} %  of {tables.count(weights)}")
    axes.set_title("Weights kept, layer by layer", loc="left", fontweight="bold")
    _finish(axes, names, 1.36)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])


def _draw_layer_lines(axes, report, names):
    for index, model in enumerate(report.models):
        kept = _kept_by_layer(model)
        shares = [kept.get(name, (float("nan"),))[0] for name in names]
        axes.step(
            range(1, len(names) + 1), shares, where="mid", color=_colour(index), lw=2
        )
    axes.set_ylim(0, 1.05)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
    axes.set_xlabel("layer with weights, counted from the input")
    axes.grid(axis="y", color="#e0e0e0", lw=0.8)
    axes.set_title("Weights kept, layer by layer", loc="left", fontweight="bold")


def _bar(axes, y, width, index, report, label):
    height = 0.8 / len(report.models)
    axes.barh(y, width, 0.9 * height, color=_colour(index), label=label, zorder=2)


def _label(axes, y, width, text):
    axes.annotate(
        text,
        (width, y),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
        color="#3c4043",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
    )


def _finish(axes, titles, right):
    axes.set_yticks(range(len(titles)), titles)
    axes.set_ylim(len(titles) - 0.45, -0.55)
    axes.set_xlim(0, right)
    axes.set_axisbelow(True)
    axes.grid(axis="x", color="#e0e0e0", lw=0.8)


def _offset(position, index, models):
    return position + (index - (models - 1) / 2) * 0.8 / models


def _largest(rows):
    shares = (value / row[1][0] for row in rows for value in row[1] if value)
    return max([1.0, *shares])


def _colour(index):
    return COLOURS[index % len(COLOURS)]


def _kept_by_layer(model):
    return {
        layer.name: (layer.weights_kept / layer.weights, layer.weights)
        for layer in model.layers
        if layer.weights
    }


def _layer_names(report):
    names = (layer.name for m in report.models for layer in m.layers if layer.weights)
    return list(dict.fromkeys(names))
