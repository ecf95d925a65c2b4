"""The commands of `keras-compress`, but for `analyze`."""

import os
import sys
from pathlib import Path

import click

import keras_compress as kc
from keras_compress._commands import (
    FOLDER,
    IN_FILE,
    OUT_FILE,
    Amount,
    BadArgument,
    Commands,
    Module,
    Pattern,
    arguments_checked,
    at_work,
    check_folder,
    check_target,
    force_option,
    json_option,
    load_model,
    print_json,
)
from keras_compress._rebuild import walk
from keras_compress.cli.analyze import analyze
from keras_compress.cli.data import Shape, made_inputs
from keras_compress.cli.results import check_results, result_options, show_result
from keras_compress.layers.pruned import total_sparsity
from keras_compress.recipes import demo as demo_recipe
from keras_compress.save import save_whole
from keras_compress.swap import unfolded_matches


@click.group(
    cls=Commands,
    context_settings={"max_content_width": 88},
    examples=[
        "keras-compress demo",
        "keras-compress swap model.keras small.keras --sparsity 0.9",
        "keras-compress pack small.keras packed.keras",
        "keras-compress export packed.keras served",
        "keras-compress report model.keras packed.keras --measure",
        "keras-compress analyze ranks model.keras --energy 0.95",
        "keras-compress --import my_layers pack small.keras packed.keras",
    ],
)
@click.option(
    *("--import", "modules"),
    metavar="MODULE",
    type=Module(),
    multiple=True,
    expose_value=False,
    help="Import this first, for the layers, losses and metrics that it registers; "
    "can be given again.",
)
@click.version_option(kc.__version__, prog_name="keras-compress")
def main():
    """Make trained Keras models small and fast.

    Models are .keras files. Progress goes to stderr, results to stdout. A bad argument
    ends with exit code 2, a failure with 1.
    """


main.add_command(analyze)


@main.command(
    examples=[
        "keras-compress demo",
        "keras-compress demo --output lenet --epochs 5 5",
        "keras-compress demo --smoke --json",
    ],
)
@click.option(
    *("--output", "folder"),
    type=FOLDER,
    default="demo",
    show_default=True,
    help="Directory for the files; those of an earlier run are replaced.",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    nargs=2,
    default=demo_recipe.EPOCHS,
    show_default=True,
    help="Epochs of the dense training, and of the pruning.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Random seed.")
@click.option("--smoke", is_flag=True, help="Seconds only, on scikit-learn's digits.")
@json_option
def demo(folder, epochs, seed, smoke, as_json):
    """Train, prune, pack, export and serve LeNet-300-100 on MNIST.

    tensorflow-datasets reads MNIST from TFDS_DATA_DIR or downloads it; where it can do
    neither, the digits that scikit-learn ships are used.
    """
    results = sys.stderr if as_json else sys.stdout

    def say(line):
        # Which data it is belongs to the result; the rest is progress.
        is_result = line.startswith("Data:")
        click.echo(line, file=results if is_result else sys.stderr)

    with at_work():
        done = demo_recipe.run(folder, epochs=epochs, seed=seed, smoke=smoke, say=say)
    if as_json:
        print_json(done.to_dict())
    else:
        click.echo(f"\n{done.report}\n\n{done.summary()}")


@main.command(
    examples=[
        "keras-compress report model.keras",
        "keras-compress report model.keras packed.keras --measure --plot report.png",
        "keras-compress report model.keras packed.keras --json",
        "keras-compress report recurrent.keras --shape 100x8",
    ],
)
@click.argument("files", nargs=-1, required=True, type=IN_FILE)
@click.option("--measure", is_flag=True, help="Measure bytes on disk and latency.")
@click.option(
    *("--shape", "shapes"),
    type=Shape(),
    multiple=True,
    help="Shape of one example, such as 28x28x1, where the model leaves a side open; "
    "with several inputs once for each.",
)
@result_options
def report(files, measure, shapes, **results):
    """Compare what models cost: weights, bytes, multiply-adds, energy, latency.

    The first of FILES is what the others are compared with.
    """
    check_results(**results)
    stems = [file.stem for file in files]
    names = stems if len(set(stems)) == len(stems) else [str(file) for file in files]
    if len(set(names)) < len(names):
        raise BadArgument("FILES must differ from each other.")
    with at_work():
        models = [load_model(file, compile=False) for file in files]
        inputs = made_inputs(models, files, shapes)
        found = kc.report(*models, names=names, measure=measure, inputs=inputs)
    show_result(found, **results, to_dict=lambda found: found.to_dict())


@main.command(
    examples=[
        "keras-compress swap model.keras small.keras",
        "keras-compress swap model.keras small.keras --where 'fc*' --sparsity 0.9",
        "keras-compress swap model.keras small.keras --pattern 2:4 --sparsity 0.5",
    ],
)
@click.argument("source", metavar="IN.keras", type=IN_FILE)
@click.argument("target", metavar="OUT.keras", type=OUT_FILE)
@click.option(
    *("--where", "where"),
    multiple=True,
    metavar="GLOB",
    help="Layers to swap, by name or path; can be given again. Default: all.",
)
@click.option(
    "--pattern",
    type=Pattern(),
    help="Weights pruned together: 2:4, blocks such as 1x16, or neuron.",
)
@click.option("--sparsity", type=Amount(0, 1), help="Prune to this fraction.")
@click.option("--threshold", type=Amount(0), help="Prune weights smaller than this.")
@click.option(
    "--quality",
    type=Amount(0),
    help="Prune weights smaller than so many standard deviations of their layer.",
)
@force_option
@json_option
def swap(source, target, where, pattern, force, as_json, **amounts):
    """Swap Dense and Conv2D layers for pruned ones; prune them once if told how far.

    Without --sparsity, --threshold or --quality nothing is pruned yet: train OUT.keras
    on with keras_compress.callbacks.IterativePruning.
    """
    amounts = {name: value for name, value in amounts.items() if value is not None}
    if len(amounts) > 1:
        raise BadArgument("Give one of --sparsity, --threshold and --quality.")
    check_target(target, force)
    where = list(where) or ["*"]
    with at_work():
        model = load_model(source)
        config = kc.Prune(pattern=pattern)
        with arguments_checked():
            new = kc.swap(model, config, where=where)
        matches = {path for path, _, _ in unfolded_matches(model, config, where)[1]}
        layers = {path: layer for path, layer in walk(new) if path in matches}
        if amounts:
            with arguments_checked():
                for layer in layers.values():
                    layer.prune(**amounts)
        save_whole(new, target)
    total = total_sparsity(list(layers.values()))
    if as_json:
        sparsities = {path: layer.sparsity for path, layer in layers.items()}
        print_json({"path": str(target), "sparsity": total, "layers": sparsities})
    else:
        click.echo(f"{target}: {len(layers)} layers swapped, {total:.1%} pruned")


@main.command(
    examples=[
        "keras-compress pack small.keras packed.keras",
        "keras-compress pack small.keras packed.keras --batch 1",
        "keras-compress pack small.keras packed.keras --storage compact",
    ],
)
@click.argument("source", metavar="IN.keras", type=IN_FILE)
@click.argument("target", metavar="OUT.keras", type=OUT_FILE)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    help="The batch size that the model will mostly see.",
)
@click.option(
    "--storage",
    type=click.Choice(["fast", "compact"]),
    default="fast",
    show_default=True,
    help="compact: a smaller file of the same model, which takes longer to load.",
)
@force_option
@json_option
def pack(source, target, batch, storage, force, as_json):
    """Turn a compressed model into its inference form, smaller and faster."""
    check_target(target, force)
    with at_work():
        packed = kc.pack(load_model(source), batch=batch, storage=storage)
        if storage == "compact":
            kc.save(packed, target)
        else:
            save_whole(packed, target)
    layers = {path: type(layer).__name__ for path, layer in walk(packed)}
    size = target.stat().st_size
    if as_json:
        print_json({"path": str(target), "bytes": size, "layers": layers})
    else:
        click.echo(f"{target}: {size:,} bytes, {', '.join(layers.values())}")


@main.command(
    examples=[
        "keras-compress export packed.keras served",
        "keras-compress export packed.keras served --portable",
        "keras-compress export packed.keras model.tflite",
    ],
)
@click.argument("source", metavar="IN.keras", type=IN_FILE)
@click.argument("target", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--portable",
    is_flag=True,
    help="Standard TensorFlow operations only: loads without keras_compress.",
)
@json_option
def export(source, target, portable, as_json):
    """Write a model as a SavedModel directory, or a .tflite file, for serving."""
    check_folder("DIR", target)
    if os.path.lexists(target):
        raise BadArgument(f"{target} exists already.")
    if target.suffix == ".tflite":
        if portable:
            raise BadArgument("--portable is for a SavedModel, not for a .tflite file.")
        with at_work():
            file = kc.export_litert(load_model(source, compile=False), target)
        facts = {"path": str(target), "bytes": file.bytes, "layers": file.layers}
        print_json(facts) if as_json else click.echo(str(file))
        return
    with at_work():
        kc.export(load_model(source, compile=False), target, portable=portable)
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    if as_json:
        print_json({"path": str(target), "bytes": size, "portable": portable})
    else:
        click.echo(f"{target}: {size:,} bytes")
