"""Callbacks that compress a model while it trains."""

from keras_compress.callbacks.binarization import Binarization as Binarization
from keras_compress.callbacks.compression_logger import (
    CompressionLogger as CompressionLogger,
)
from keras_compress.callbacks.distillation_schedule import (
    DistillationSchedule as DistillationSchedule,
)
from keras_compress.callbacks.iterative_pruning import (
    IterativePruning as IterativePruning,
)
from keras_compress.callbacks.quantization_noise import (
    QuantizationNoise as QuantizationNoise,
)
