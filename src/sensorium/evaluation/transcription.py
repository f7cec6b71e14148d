"""Transcriptions: word error rate and character error rate, by jiwer.

transcriptions, references -> {"WER": Measured, "CER": Measured}

WER = (substitutions + deletions + insertions) / reference words, summed over all utterances before dividing;
CER the same over characters, spaces counted. Lower is better; both pass 1 when too much is written.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

import numpy as np

from sensorium.evaluation.generated import Measured, one_each

NOTE = "WER, CER: casefolded, punctuation removed, accents kept; errors over all utterances"


def normalised(text: str) -> str:
    """The words that are compared, one space between them.

    Unicode NFC and casefolded; accents, ñ and ç are kept and count. Punctuation and symbols separate words
    ("arc-en-ciel" = "arc en ciel", "¿qué?" = "qué") but for an apostrophe inside a word, straight or curly
    ("l’éléphant" = "l'éléphant", one word). Numbers are not spelled out.
    """
    plain = unicodedata.normalize("NFC", text).casefold().translate(str.maketrans("’‘ʼ", "'''"))
    kept = "".join(c if unicodedata.category(c)[0] not in "PS" or c == "'" else " " for c in plain)
    return " ".join(re.sub(r"(?<!\w)'|'(?!\w)", " ", kept).split())


class ErrorRates:
    """WER and CER against one reference an utterance.

    references: what was said. One may be empty (nobody speaks: every word written is an error), not all.
    """

    def __init__(self, references: Sequence[str]) -> None:
        self.references = [normalised(reference) for reference in references]
        if not any(self.references):
            raise ValueError(f"references: none of the {len(self.references)} holds a word")

    def __call__(self, transcriptions: Sequence[str]) -> dict[str, Measured]:
        one_each("transcriptions", transcriptions, len(self.references), "reference")
        try:
            import jiwer
        except ImportError as error:
            raise ValueError("error rates need jiwer; type: pip install 'sensorium[evaluation]'") from error
        said = [normalised(text) for text in transcriptions]
        return {
            "WER": self._rate(said, jiwer.process_words, len_of=lambda text: len(text.split())),
            "CER": self._rate(said, jiwer.process_characters, len_of=len),
        }

    def _rate(self, said: Sequence[str], process: Callable, len_of: Callable[[str], int]) -> Measured:
        counts = [process(reference, text) for reference, text in zip(self.references, said)]
        errors = np.array([c.substitutions + c.deletions + c.insertions for c in counts], float)
        lengths = np.array([len_of(reference) for reference in self.references], float)

        def rate(rows: np.ndarray) -> float:
            return float(errors[rows].sum() / max(lengths[rows].sum(), 1))

        return Measured(errors / np.maximum(lengths, 1), rate, unit="error", note=NOTE)
