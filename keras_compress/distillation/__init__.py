"""Distillation: students that learn from the outputs of their teachers."""

from keras_compress.distillation.cache import cache_logits as cache_logits
from keras_compress.distillation.cached_batch import CachedBatch as CachedBatch
from keras_compress.distillation.class_bias import ClassBias as ClassBias
from keras_compress.distillation.class_bias import (
    correct_class_bias as correct_class_bias,
)
from keras_compress.distillation.distiller import Distiller as Distiller
from keras_compress.distillation.features import (
    AttentionTransfer as AttentionTransfer,
)
from keras_compress.distillation.features import Hint as Hint
from keras_compress.distillation.mixing import mix_inputs as mix_inputs
from keras_compress.distillation.teachers import Ensemble as Ensemble
