"""Neural-network compression for Keras: what you compress is what you get."""

from keras_compress import analysis as analysis
from keras_compress import callbacks as callbacks
from keras_compress import distillation as distillation
from keras_compress import layers as layers
from keras_compress import ops as ops
from keras_compress import schedules as schedules
from keras_compress.distillation import Distiller as Distiller
from keras_compress.export import export as export
from keras_compress.fold import fold_batch_normalization as fold_batch_normalization
from keras_compress.functional.q_format import QFormat as QFormat
from keras_compress.hardware import describe_hardware as describe_hardware
from keras_compress.layers import packed as packed
from keras_compress.layers._bitwise_swap import Bitwise as Bitwise
from keras_compress.layers._low_rank_swap import LowRank as LowRank
from keras_compress.layers.clustered import Cluster as Cluster
from keras_compress.layers.fixed_point import FixedPoint as FixedPoint
from keras_compress.layers.learned_step import LearnedStep as LearnedStep
from keras_compress.layers.pruned import Prune as Prune
from keras_compress.litert import export_litert as export_litert
from keras_compress.ops import native_status as native_status
from keras_compress.pack import pack as pack
from keras_compress.prune import prune as prune
from keras_compress.report import report as report
from keras_compress.save import save as save
from keras_compress.swap import swap as swap
from keras_compress.version import __version__ as __version__
