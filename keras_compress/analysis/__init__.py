"""What a model's weights and data say about how to compress it."""

from keras_compress.analysis.calibration import choose_formats as choose_formats
