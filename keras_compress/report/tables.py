"""The report as text: numbers in units for people, a dash for what was not measured."""

from tabulate import tabulate

DASH = "-"


def render(report, *, markdown):
    """All tables and notes of a report.

    Args:
        report: A `Report`.
        markdown: Whether in GitHub's markdown rather than plain text.

    Returns:
        The text.
    """
    style = "github" if markdown else "simple"
    parts = [_table(total_rows(report), _titles(report), style)]
    for model in report.models:
        heading = f"**{model.name}**, layer by layer" if markdown else model.name
        rows = layer_rows(model)
        if rows:
            parts.append(heading + "\n\n" + _table(rows, LAYER_TITLES, style))
    if report.notes:
        parts.append("\n".join(f"- {note}" for note in report.notes))
    return "\n\n".join(parts)


def total_rows(report):
    """The rows of the first table, a list of cells each, the row's title first."""
    models = report.models

    def row(title, values, unit, compare=False):
        return [title, *_compared(values, unit, compare)]

    rows = [
        [title, *(_plain(value) for value in values)]
        for title, values in report.extra.items()
    ]
    rows += [
        row("parameters", [m.parameters for m in models], count),
        row("weights", [m.weights for m in models], count),
        ["weights kept", *(_kept(m, of=models[0].weights) for m in models)],
        row("memory", [m.memory_bytes for m in models], byte_size, True),
        row("multiply-adds", [m.multiply_adds for m in models], count, True),
        row(
            "multiply-adds of kept weights",
            [m.effective_multiply_adds for m in models],
            count,
            True,
        ),
    ]
    if any(m.activation_sparsity is not None for m in models):
        work = [m.remaining_work for m in models]
        work = [DASH if share is None else f"{_share(share)} %" for share in work]
        rows.append(["products without a zero", *work])
    rows.append(
        row("energy, estimated (45 nm)", [m.energy_pj for m in models], energy, True)
    )
    if not report.batches:
        return rows
    rows += [
        row(".keras file", [m.keras_bytes for m in models], byte_size, True),
        row("file of kc.save", [m.deflated_bytes for m in models], byte_size, True),
        row("SavedModel", [m.saved_model_bytes for m in models], byte_size, True),
    ]
    rows += [
        row(f"latency, batch {b}", [m.latency.get(b) for m in models], seconds, True)
        for b in report.batches
    ]
    return rows


LAYER_TITLES = ["layer", "kind", "weights", "FLOP", "Act%", "Weights%", "FLOP%"]


def layer_rows(model):
    """The rows of one model's table, as in Han's, with the total last."""
    shown = [layer for layer in model.layers if _is_telling(layer)]
    rows = [
        [
            layer.name if layer.calls == 1 else f"{layer.name} (x{layer.calls})",
            layer.kind,
            count(layer.weights) if layer.weights else DASH,
            "?" if layer.flop is None else count(layer.flop),
            _percent(layer.activation_sparsity),
            _percent(layer.sparsity),
            _share(layer.remaining_work),
        ]
        for layer in shown
    ]
    if rows:
        total = [
            count(model.weights),
            count(2 * model.multiply_adds),
            _percent(model.activation_sparsity),
            _percent(model.sparsity),
            _share(model.remaining_work),
        ]
        rows.append(["total", "", *total])
    return rows


def count(value):
    """`235200 -> '235.2 k'`."""
    for size, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return _short(value / size) + unit
    return f"{value:.0f}"


def byte_size(value):
    """`1066440 -> '1.07 MB'`; a kB is 1,000 bytes."""
    return f"{value} B" if value < 1000 else count(value) + "B"


def seconds(value):
    """`0.00123 -> '1.23 ms'`."""
    for size, unit in ((1.0, "s"), (1e-3, "ms")):
        if value >= size:
            return f"{_short(value / size)} {unit}"
    return f"{_short(value * 1e6)} us"


def energy(value):
    """`1.2e6` picojoules `-> '1.2 uJ'`."""
    for size, unit in ((1e12, "J"), (1e9, "mJ"), (1e6, "uJ"), (1e3, "nJ")):
        if value >= size:
            return f"{_short(value / size)} {unit}"
    return f"{_short(value)} pJ"


def _table(rows, titles, style):
    align = ["left"] + ["right"] * (len(titles) - 1)
    if titles is LAYER_TITLES:
        align[1] = "left"
    return tabulate(rows, titles, tablefmt=style, colalign=align, disable_numparse=True)


def _titles(report):
    return ["", *(model.name for model in report.models)]


def _compared(values, unit, compare):
    """Cells in units, and how many times smaller than the first model's."""
    first = values[0]
    for position, value in enumerate(values):
        if value is None:
            yield DASH
        elif compare and position and first is not None:
            yield f"{unit(value)}{factor(first, value)}"
        else:
            yield unit(value)


def factor(first, value):
    """How much less or more than the first model: `(12.5, 1) -> ' (12.5x less)'`."""
    if not first or not value:
        return ""
    times, word = (first / value, "less") if value < first else (value / first, "more")
    if times < 1.05:
        return ""
    return f" ({times:.1f}x {word})" if times < 99.5 else f" ({times:.0f}x {word})"


def _kept(model, of):
    """How many weights are not zero, and their share of the first model's weights."""
    if not model.weights or not of:
        return DASH
    return f"{count(model.weights_kept)} ({_share(model.weights_kept / of)} %)"


def _percent(sparsity):
    """What is left, in per cent."""
    return DASH if sparsity is None else _share(1.0 - sparsity)


def _share(fraction):
    if fraction is None:
        return DASH
    percent = 100 * fraction
    return f"{percent:.0f}" if percent >= 99.95 or not percent else f"{percent:.1f}"


def _short(value):
    """Three digits, the whole part never cut."""
    if value >= 99.95:
        return f"{value:.1f}" if value < 999.95 else f"{value:.0f}"
    return f"{value:.2f}"


def _plain(value):
    if value is None:
        return DASH
    return value if isinstance(value, str) else f"{value:.4g}"


def _is_telling(layer):
    """Layers with work or weights, and those that change how many zeros there are."""
    if layer.weights or layer.multiply_adds is None or layer.multiply_adds:
        return True
    return layer.activation_sparsity not in (None, layer.input_sparsity)
