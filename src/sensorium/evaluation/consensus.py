"""The consensus of several texts: the one that agrees most with what the answer may be.

texts, chances float[K] ──► ROUGE-L of each against each, float[K, K] ──► the text of the largest expected ROUGE-L

The likeliest text is the best answer where all others are worth nothing. A caption that is not the right one still
shares words with it, so what is wanted is minimum Bayes risk (Kumar & Byrne 2004, §2): argmax_h Σ_z p(z) ROUGE-L(h, z).
Among the captions of similar pictures this is the consensus caption of Devlin et al. 2015 (arXiv:1505.04467, §3).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sensorium.evaluation.captions import rouge_l


def agreement(texts: Sequence[str]) -> np.ndarray:
    """float[K, K]: the ROUGE-L of text h, were text z the right one."""
    return rouge_l(texts, texts)


def consensus(agreed: np.ndarray, chances: np.ndarray) -> int:
    """Which text is expected to agree most; of equal ones the first.

    agreed:  float[H, K], the worth of each of H texts, were each of K the right one
    chances: float[K], how likely each is the right one, in any unit
    """
    return int((agreed @ chances).argmax())
