"""What a model can spare: ranks, and what else is chosen by looking at it."""

from keras_compress.analysis.rank_choice import RankChoice as RankChoice
from keras_compress.analysis.rank_selection import choose_ranks as choose_ranks
