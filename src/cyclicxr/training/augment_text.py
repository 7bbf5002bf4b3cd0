"""Some sentences of a report in another order: a part of a report is true of its film too; knows no film.

All randomness comes from torch's global generator.
"""

from __future__ import annotations

import math

import torch

from cyclicxr.data.reports import sentences


def some_sentences(report: str, share: float) -> str:
    """A random choice of a report's sentences, in random order, each as it was written.

    Args:
        report: one report.
        share: of its sentences that is kept, in (0, 1], rounded up, so that one is always left; 1 gives the report as it is.

    >>> some_sentences("Clear lungs.", 0.5)
    'Clear lungs.'
    """
    found = [sentence for sentence, _, _ in sentences(report)]
    if share == 1 or len(found) < 2:
        return report
    kept = torch.randperm(len(found))[: math.ceil(share * len(found))]
    return " ".join(found[i] for i in kept.tolist())
