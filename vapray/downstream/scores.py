"""Scores of a classifier on held-out images."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.functional.classification import binary_auroc, multiclass_f1_score

__all__ = ["Scores", "score"]


@dataclass(frozen=True)
class Scores:
    """Unweighted means over the classes that the held-out images have.

    Attributes:
        auc: Area under the ROC curve of each class against all others (mAUC), 0..1.
        f1: F1 score of the most probable class (macro F1), 0..1.
    """

    auc: float
    f1: float


def score(probabilities: NDArray[np.float64], labels: NDArray[np.integer[Any]]) -> Scores:
    """Score ``probabilities`` [N, K] against ``labels`` [N], of which at least two differ."""
    asked, truth = torch.from_numpy(probabilities), torch.from_numpy(labels.astype(np.int64))
    classes = truth.unique().tolist()
    areas = [binary_auroc(asked[:, label], (truth == label).long()).item() for label in classes]
    f1 = multiclass_f1_score(asked, truth, num_classes=asked.shape[1], average=None)
    return Scores(float(np.mean(areas)), float(f1[classes].double().mean()))
