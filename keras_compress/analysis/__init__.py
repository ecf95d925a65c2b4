"""What a model's weights and data say about how to compress it."""

from keras_compress.analysis.calibration import choose_formats as choose_formats
from keras_compress.analysis.rank_choice import RankChoice as RankChoice
from keras_compress.analysis.rank_selection import choose_ranks as choose_ranks
from keras_compress.analysis.sensitivity import sensitivity as sensitivity
from keras_compress.analysis.sensitivity_result import Sensitivity as Sensitivity
