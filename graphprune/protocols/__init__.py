"""Windows of recordings, how they are split for training and testing, and what a split lets through.

Jordao et al., "Human Activity Recognition Based on Wearable Sensor Data: A Standardization of the State-of-the-Art"
(arXiv 1806.05226): how windows are cut and split decides about ten points of accuracy.
"""

from graphprune.protocols.leakage import leakage
from graphprune.protocols.scores import FoldScores, OverFolds, fold_scores, over_folds
from graphprune.protocols.splits import PROTOCOLS, Fold, fnow, loso, loto, snow
from graphprune.protocols.windows import Recording, Windows, windows

__all__ = [
    "PROTOCOLS",
    "Fold",
    "FoldScores",
    "OverFolds",
    "Recording",
    "Windows",
    "fnow",
    "fold_scores",
    "leakage",
    "loso",
    "loto",
    "over_folds",
    "snow",
    "windows",
]
