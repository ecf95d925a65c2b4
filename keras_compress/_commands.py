"""How commands of the command line behave: arguments, failures, and what they print."""

import contextlib
import importlib
import json
import math
import sys
import zipfile
from pathlib import Path

import click
import keras
import tensorflow as tf

from keras_compress.layers.pruned import Prune

IN_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
OUT_FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


class BadArgument(click.ClickException):
    """An argument that cannot be used; the command ends with exit code 2."""

    exit_code = 2


class _Examples:
    """Help that ends with examples, line by line."""

    def __init__(self, *args, examples, **kwargs):
        super().__init__(*args, **kwargs)
        self.examples = examples

    def format_epilog(self, ctx, formatter):
        """Writes the examples."""
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"{'':>{formatter.current_indent}}{example}\n")


class Command(_Examples, click.Command):
    """A command with examples."""


class Commands(_Examples, click.Group):
    """A group that says in one line what is wrong with an argument."""

    command_class = Command

    def invoke(self, ctx):
        """Runs the command."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            raise BadArgument(_one_line(error.format_message())) from error


class Amount(click.FloatRange):
    """A range of numbers that neither infinity nor `nan` is in."""

    def convert(self, value, param, ctx):
        """The number."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class Pattern(click.ParamType):
    """What `Prune(pattern=...)` takes, as one word: `2:4`, `1x16`, `neuron`."""

    name = "pattern"

    def convert(self, value, param, ctx):
        """The pattern as `Prune` takes it."""
        parts = value.split("x")
        if len(parts) == 2 and all(part.isdecimal() for part in parts):
            value = tuple(int(part) for part in parts)
        try:
            Prune(pattern=value)
        except ValueError as error:
            self.fail(_one_line(error), param, ctx)
        return value


class Module(click.ParamType):
    """The name of a Python module, which is imported."""

    name = "module"

    def convert(self, value, param, ctx):
        """The module, also one of the working directory."""
        here = str(Path.cwd())
        if here not in sys.path:  # as `python -m` has it
            sys.path.insert(0, here)
        try:
            with contextlib.redirect_stdout(sys.stderr):
                return importlib.import_module(value)
        except (Exception, SystemExit) as error:
            # It may fail anywhere in the user's code, or be a script that ends.
            self.fail(f"{value} cannot be imported: {_one_line(error)}", param, ctx)


def json_option(command):
    """The option that every command has."""
    text = "Print a JSON object to stdout, and nothing else."
    return click.option("--json", "as_json", is_flag=True, help=text)(command)


def force_option(command):
    """The option of the commands that write a file."""
    text = "Replace the file if it exists."
    return click.option("--force", is_flag=True, help=text)(command)


@contextlib.contextmanager
def at_work():
    """Keeps stdout for results, and turns what can go wrong into one line."""
    failures = (ValueError, OSError, ImportError, RuntimeError, tf.errors.OpError)
    with contextlib.redirect_stdout(sys.stderr):
        try:
            yield
        except failures as error:
            raise click.ClickException(_one_line(error)) from error


@contextlib.contextmanager
def arguments_checked():
    """Says of a `ValueError` that an argument was bad."""
    try:
        yield
    except ValueError as error:
        raise BadArgument(_one_line(error)) from error


def load_model(path, compile=True):
    """The model in a .keras file."""
    try:
        return keras.models.load_model(path, compile=compile)
    except Exception as error:
        # A broken file may fail anywhere in Keras, h5py, zipfile or json.
        message = f"{path} is not a readable .keras file: {_one_line(error)}"
        strangers = _strangers(path, compile)
        if strangers:
            message = (
                f"{path} has classes or functions that are not registered here: "
                f"{', '.join(strangers)}. keras-compress --import MODULE ... imports "
                "what registers them, by keras.saving.register_keras_serializable"
            )
        raise click.ClickException(message) from error


def _strangers(path, compile):
    """The names in a .keras file of classes and functions that Keras does not find.

    Args:
        path: The file; one that cannot be read has none.
        compile: Whether those of the compile settings count.
    """
    found = {}

    def visit(value):
        if isinstance(value, list):
            for one in value:
                visit(one)
        elif isinstance(value, dict):
            name = value.get("registered_name")
            if name == "function" and isinstance(value.get("config"), str):
                try:
                    keras.saving.deserialize_keras_object(value)
                except (TypeError, ValueError, ImportError):
                    found[value["config"]] = True
            elif name and keras.saving.get_registered_object(name) is None:
                found[name] = True
            visit(list(value.values()))

    with contextlib.suppress(OSError, KeyError, ValueError, zipfile.BadZipFile):
        with zipfile.ZipFile(path) as file:
            config = json.loads(file.read("config.json"))
        if not compile:
            config.pop("compile_config", None)
        visit(config)
    return list(found)


def check_target(path, force):
    """Refuses a .keras file that cannot be written, or would be lost."""
    if path.suffix != ".keras":
        raise BadArgument(f"OUT.keras must end in .keras. Received: {path}")
    check_folder("OUT.keras", path)
    if path.exists() and not force:
        raise BadArgument(f"{path} exists already; --force replaces it.")


def check_folder(name, path):
    """Refuses a path in a directory that is not there."""
    if not path.parent.is_dir():
        raise BadArgument(
            f"{name} must be in a directory that exists. Received: {path}"
        )


def _one_line(error):
    """An error's text in one line; what it lists line by line, behind commas."""
    first, *others = str(error).split("\n") if str(error) else [type(error).__name__]
    others = [line.strip() for line in others if line.strip()]
    return f"{first} {', '.join(others)}".strip()


def print_json(values):
    """Writes a JSON object to stdout."""
    click.echo(json.dumps(values, indent=2))
