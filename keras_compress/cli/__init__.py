"""The command line: `keras-compress demo | report | swap | pack | export | analyze`."""

from keras_compress.cli.commands import main as main
