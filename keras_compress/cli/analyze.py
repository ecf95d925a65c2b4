"""`keras-compress analyze`: what weights and data say about compressing a model."""

import dataclasses
import math

import click
import keras

import keras_compress as kc
from keras_compress._commands import (
    IN_FILE,
    Amount,
    BadArgument,
    Commands,
    arguments_checked,
    at_work,
    load_model,
)
from keras_compress.analysis.calibration import SPREADS
from keras_compress.analysis.rank_selection import RULES
from keras_compress.cli.data import Arrays
from keras_compress.cli.results import check_results, result_options, show_result
from keras_compress.functional import calibration
from keras_compress.layers._low_rank_swap import METHODS

# What the technique leaves open is varied: how far to prune, ranks, fraction bits.
TECHNIQUES = {
    "prune": kc.Prune(),
    "low-rank": kc.LowRank(rank=1),
    "fixed-point": kc.FixedPoint(kernel=kc.QFormat(None, 8)),
}


class ShareOrCount(click.ParamType):
    """A share with a point in it, such as `0.5`, or an integer."""

    name = "share or integer"

    def convert(self, value, param, ctx):
        """The `float` or `int`; the library says which are in range."""
        try:
            return float(value) if "." in value else int(value)
        except ValueError:
            self.fail(f"{value!r} is no share or integer.", param, ctx)


model_argument = click.argument("source", metavar="MODEL.keras", type=IN_FILE)
where_option = click.option(
    *("--where", "where"),
    multiple=True,
    metavar="GLOB",
    help="Layers to look at, by name or path; can be given again. Default: all.",
)


def data_argument(required=True):
    """The file of arrays."""
    metavar = "DATA.npz" if required else "[DATA.npz]"
    return click.argument("data", metavar=metavar, type=IN_FILE, required=required)


@click.group(
    cls=Commands,
    no_args_is_help=False,
    examples=[
        "keras-compress analyze sensitivity model.keras data.npz",
        "keras-compress analyze formats model.keras data.npz --bits 6",
        "keras-compress analyze ranks model.keras --energy 0.95",
    ],
)
def analyze():
    """Show how far the layers of a model can be compressed.

    Inputs are the array x of DATA.npz, targets y, as numpy.savez(path, x=..., y=...)
    writes them; for several inputs or outputs, arrays of their names.
    """


@analyze.command(
    examples=[
        "keras-compress analyze sensitivity model.keras data.npz",
        "keras-compress analyze sensitivity a.keras data.npz --level 0.5 --level 0.9",
        "keras-compress analyze sensitivity model.keras data.npz --technique low-rank",
    ],
)
@model_argument
@data_argument()
@click.option(
    "--technique",
    type=click.Choice(list(TECHNIQUES)),
    default="prune",
    show_default=True,
    help="What is done to one layer at a time.",
)
@click.option(
    *("--level", "levels"),
    type=Amount(0),
    multiple=True,
    help="How far: the share of weights that goes, for fixed point the fraction bits; "
    "can be given again.",
)
@where_option
@click.option("--batch-size", type=click.IntRange(min=1), help="For the measuring.")
@result_options
def sensitivity(source, data, technique, levels, where, batch_size, **results):
    """Measure the error with each layer alone compressed, so far and so far.

    The model must be compiled. The data must have targets, and should not be those that
    results are reported on.
    """
    check_results(**results)
    if technique == "fixed-point":
        levels = [int(level) if level == int(level) else level for level in levels]
    with at_work():
        model, arrays = load_model(source), Arrays(data)
        pair = arrays.inputs(model), arrays.targets(model)
        with arguments_checked():
            found = kc.analysis.sensitivity(
                model,
                pair,
                TECHNIQUES[technique],
                where=list(where) or None,
                levels=list(levels) or None,
                batch_size=batch_size,
            )
    show_result(found, **results, to_dict=kc.analysis.Sensitivity.to_dict)


@analyze.command(
    examples=[
        "keras-compress analyze formats model.keras data.npz",
        "keras-compress analyze formats model.keras data.npz --bits 6 --per-channel",
        "keras-compress analyze formats model.keras data.npz --max-bytes 100000",
    ],
)
@model_argument
@data_argument()
@click.option(
    "--bits",
    type=click.IntRange(2, 16),
    default=8,
    show_default=True,
    help="Bits of a weight, the sign among them.",
)
@click.option(
    "--activation-bits",
    type=click.IntRange(2, 16),
    help="Bits of inputs and outputs. Default: as of weights.",
)
@click.option(
    "--method",
    type=click.Choice(list(calibration.METHODS)),
    default="range",
    show_default=True,
    help="What the range of a format is chosen by.",
)
@click.option("--per-channel", is_flag=True, help="A format for each output's weights.")
@click.option(
    "--spread",
    type=click.Choice(list(SPREADS)),
    default="even",
    show_default=True,
    help="Whether layers get bits evenly, or as they change the outputs.",
)
@click.option(
    "--max-bytes", type=click.IntRange(min=1), help="What kernels may take together."
)
@where_option
@result_options
def formats(source, data, where, markdown, plot, as_json, **options):
    """Choose fixed-point formats by what flows through the model; no targets needed."""
    check_results(markdown, plot, as_json)
    with at_work():
        model = load_model(source, compile=False)
        inputs = Arrays(data).inputs(model)
        with arguments_checked():
            found = kc.analysis.choose_formats(
                model, inputs, where=list(where) or None, **options
            )
    show_result(found, markdown, plot, as_json, _formats_as_dict)


@analyze.command(
    examples=[
        "keras-compress analyze ranks model.keras --energy 0.95",
        "keras-compress analyze ranks model.keras data.npz --params 0.5",
        "keras-compress analyze ranks model.keras data.npz --max-error 0.02",
    ],
)
@model_argument
@data_argument(required=False)
@click.option("--energy", type=Amount(0, 1), help="Keep this share of each kernel.")
@click.option(
    "--rule", type=click.Choice(list(RULES)), help="Keep what rises above the noise."
)
@click.option(
    "--params",
    type=ShareOrCount(),
    help="Keep so many weights together, or this share.",
)
@click.option(
    "--multiply-adds", type=ShareOrCount(), help="The same for multiply-adds."
)
@click.option(
    "--max-error",
    type=Amount(0, 1),
    help="Cut until the outputs' relative error on the data is this.",
)
@click.option(
    "--method",
    type=click.Choice(list(METHODS)),
    default="svd",
    show_default=True,
    help="How kernels become factors.",
)
@where_option
@result_options
def ranks(source, data, method, where, markdown, plot, as_json, **ways):
    """Choose ranks, by a rule for all layers or for a budget that they share.

    With DATA.npz damages are those of the model's outputs; no targets needed. Without,
    they are those of the kernels.
    """
    ways = {name: value for name, value in ways.items() if value is not None}
    if len(ways) != 1:
        raise BadArgument(
            "Give one of --energy, --rule, --params, --multiply-adds and --max-error."
        )
    check_results(markdown, plot, as_json)
    with at_work():
        model = load_model(source, compile=False)
        inputs = None if data is None else Arrays(data).inputs(model)
        with arguments_checked():
            found = kc.analysis.choose_ranks(
                model, **ways, method=method, where=list(where) or None, data=inputs
            )
    show_result(found, markdown, plot, as_json, _ranks_as_dict)


def _formats_as_dict(found):
    """The configs, and of each format how it suits its numbers."""
    choices = [
        {
            **{key: getattr(x, key) for key in ("layer", "kind", "low", "high")},
            "bits": x.format.bits,
            "overflow": x.overflow,
            "noise_db": x.noise_db if math.isfinite(x.noise_db) else None,
        }
        for x in found.choices
    ]
    return {"configs": _configs(found), "choices": choices}


def _ranks_as_dict(found):
    """The configs, and what was found of each layer but its spectrum."""
    layers = [dataclasses.asdict(layer) for layer in found.layers]
    for layer in layers:
        del layer["spectrum"]
    return {"configs": _configs(found), "layers": layers, "error": found.error}


def _configs(mapping):
    serialize = keras.saving.serialize_keras_object
    return {path: serialize(config) for path, config in mapping.items()}
