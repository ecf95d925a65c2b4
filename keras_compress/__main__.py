"""`python -m keras_compress` is `keras-compress`."""

from keras_compress.cli import main

if __name__ == "__main__":
    main(prog_name="keras-compress")
