"""What commands print: a table, Markdown or JSON, and a picture beside it."""

import click

from keras_compress._commands import (
    OUT_FILE,
    BadArgument,
    arguments_checked,
    at_work,
    check_folder,
    json_option,
    print_json,
)
from keras_compress.report import plots


def result_options(command):
    """The options of commands whose result is a table."""
    markdown = click.option("--markdown", is_flag=True, help="Print it in Markdown.")
    text = "Draw it, too: a .png or .svg file."
    plot = click.option("--plot", type=OUT_FILE, help=text)
    return markdown(plot(json_option(command)))


def check_results(markdown, plot, as_json):
    """Refuses, before any work is done, what `show_result` cannot do."""
    if markdown and as_json:
        raise BadArgument("--markdown and --json exclude each other.")
    if plot is not None:
        check_folder("--plot", plot)
        with at_work(), arguments_checked():
            plots.check_path("--plot", plot)


def show_result(result, markdown, plot, as_json, to_dict):
    """Draws a result where `plot` says, and prints it.

    Args:
        result: What has `.plot(path)`, `.to_markdown()` and is a table as text.
        markdown: Whether to print Markdown.
        plot: Path of the picture, or `None`.
        as_json: Whether to print JSON.
        to_dict: Function of the result to what JSON knows.
    """
    if plot is not None:
        with at_work():
            result.plot(plot)
    if as_json:
        print_json(to_dict(result))
    else:
        click.echo(result.to_markdown() if markdown else result)
