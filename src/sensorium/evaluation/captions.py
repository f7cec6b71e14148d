"""Captions: BLEU-1 to 4, METEOR, ROUGE-L and CIDEr-D, as pycocoevalcap, the COCO caption evaluation, has them.

captions, references -> {"BLEU-1": Measured, …, "METEOR": …, "ROUGE-L": …, "CIDEr": …}

Chen et al. 2015, "Microsoft COCO Captions: Data Collection and Evaluation Server", §3. Counts, stems, synonyms
and document frequencies are pycocoevalcap's own; only sums over items are made here, so that the bootstrap can
draw items. Values equal its values (tested).
"""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import unicodedata
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sensorium.evaluation.generated import Measured, one_each

Tokenizer = Literal["ptb", "simple"]
TOKENIZED = {
    "ptb": "captions: tokens of the Penn Treebank tokenizer, as published numbers have them",
    "simple": "captions: plain words as tokens, not comparable with published numbers",
}
NO_METEOR = "; METEOR left out, it needs Java"
IDEOGRAPHS = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"


class CaptionScores:
    """Scores against one or more reference captions an item.

    references: for each item its right captions
    tokenizer:  "ptb" is Stanford's Penn Treebank tokenizer, lower case, without punctuation: COCO's. It needs
                Java. "simple" is words of letters and digits in lower case, ideographs one by one: without
                Java, or for Chinese. None takes "ptb" where there is Java. Which one it was stands in the
                note of each score.
    meteor:     whether METEOR is measured: English only, a Java process of 2 GB, seconds to start. None
                measures it where there is Java; otherwise it is left out and the note says so.

    CIDEr weighs words by how rare they are among these references (document frequencies stay those of the
    whole set in the bootstrap), so its values for other sets of items do not compare; of one item it is 0.
    """

    def __init__(
        self,
        references: Sequence[Sequence[str]],
        tokenizer: Tokenizer | None = None,
        meteor: bool | None = None,
    ) -> None:
        java = shutil.which("java") is not None
        if tokenizer not in (None, *TOKENIZED):
            raise ValueError(f'tokenizer: got {tokenizer!r}; expected "ptb", "simple" or None')
        if not java and (tokenizer == "ptb" or meteor):
            raise ValueError(
                f'{"METEOR" if meteor else "the PTB tokenizer"} needs Java, and there is no "java" here; install '
                'one (Debian: apt-get install default-jre-headless), or ask for tokenizer="simple", meteor=False'
            )
        for n, captions in enumerate(references):
            if isinstance(captions, str) or not captions:
                raise ValueError(f"references: item {n} has {captions!r}; expected a list of captions")
        self.tokenizer: Tokenizer = tokenizer or ("ptb" if java else "simple")
        self.note = TOKENIZED[self.tokenizer] + ("" if java or meteor is False else NO_METEOR)
        flat = tokens([caption for captions in references for caption in captions], self.tokenizer)
        ends = np.cumsum([len(captions) for captions in references]).tolist()
        self.references = [flat[a:b] for a, b in zip([0, *ends], ends)]
        for n, captions in enumerate(self.references):
            if not all(captions):
                raise ValueError(f"references: item {n} has a caption without a word: {references[n]}")
        self.meteor = java and meteor is not False

    def __call__(self, captions: Sequence[str]) -> dict[str, Measured]:
        one_each("captions", captions, len(self.references), "item")
        bleu, cider, rouge = _scorers()
        said = tokens(captions, self.tokenizer)
        found = self._bleu(said, bleu)
        if self.meteor:
            found["METEOR"] = meteor_process().measure(said, self.references, self.note)
        right = dict(enumerate(self.references))
        answers = {n: [caption] for n, caption in enumerate(said)}
        found["ROUGE-L"] = Measured(np.asarray(rouge.compute_score(right, answers)[1], float), note=self.note)
        values = np.asarray(cider.compute_score(right, answers)[1], float)
        found["CIDEr"] = Measured(values, unit="points", note=self.note)
        return found

    def _bleu(self, said: Sequence[str], bleu: Any) -> dict[str, Measured]:
        """Papineni et al. 2002, with the closest reference length, as in COCO."""
        for caption, references in zip(said, self.references):
            bleu += (caption, references)
        rows = []
        for item in bleu.ctest:
            length = item["testlen"]
            closest = min((abs(reference - length), reference) for reference in item["reflen"])[1]
            rows.append([length, closest, *item["correct"], *item["guess"]])
        counts = np.array(rows, float)  # [items, 2 lengths + 4 right n-grams + 4 n-grams]
        return {
            f"BLEU-{k}": Measured(
                np.array([_bleu_of(row, k) for row in counts]),
                lambda rows, k=k: _bleu_of(counts[rows].sum(0), k),  # type: ignore[misc]
                note=self.note,
            )
            for k in (1, 2, 3, 4)
        }


def _bleu_of(counts: np.ndarray, k: int) -> float:
    """BLEU-k of summed counts: brevity penalty × geometric mean of the precisions, smoothed as in COCO."""
    length, reference = counts[:2]
    precisions = (counts[2 : 2 + k] + 1e-15) / (counts[6 : 6 + k] + 1e-9)
    ratio = (length + 1e-15) / (reference + 1e-9)
    penalty = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    return float(penalty * np.prod(precisions) ** (1 / k))


def rouge_l(captions: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """float[C, R]: the ROUGE-L of each caption against each reference alone, plain words as tokens."""
    measure = _scorers()[2].calc_score
    said, right = (tokens(texts, "simple") for texts in (captions, references))
    return np.array([[measure([one], [other]) for other in right] for one in said]).reshape(
        len(said), len(right)
    )


class _Meteor:
    """METEOR 1.5 (Denkowski & Lavie 2014) in its Java process, which also scores summed statistics."""

    def __init__(self, process: Any) -> None:
        self.process = process

    def measure(self, said: Sequence[str], references: Sequence[Sequence[str]], note: str) -> Measured:
        try:
            lines = [self.process._stat(caption, right) for caption, right in zip(said, references)]
            counts = np.array([[float(number) for number in line.split()] for line in lines])  # [items, 23]
        except (BrokenPipeError, ValueError) as error:
            raise ValueError(
                "METEOR's Java process ended or answered with no numbers (it asks for 2 GB of memory); "
                "meteor=False leaves it out"
            ) from error
        values = np.array([self._score(row) for row in counts])
        return Measured(values, lambda rows: self._score(counts[rows].sum(0)), note=note)

    def _score(self, counts: np.ndarray) -> float:
        pipes = self.process.meteor_p
        assert pipes.stdin is not None
        assert pipes.stdout is not None
        pipes.stdin.write(("EVAL ||| " + " ".join(f"{count:.1f}" for count in counts) + "\n").encode())
        pipes.stdin.flush()
        pipes.stdout.readline()  # of the one item; the next line is of the whole set, which is the same
        return float(pipes.stdout.readline())


@cache
def meteor_process() -> _Meteor:
    """The one process that all scorers of this program share; it ends with the program."""
    from pycocoevalcap.meteor.meteor import Meteor

    return _Meteor(Meteor())


def tokens(captions: Sequence[str], tokenizer: Tokenizer) -> list[str]:
    """Each caption as its tokens with one space between them. A caption is one line, whatever breaks it has:
    the Java tokenizer works line by line, and a stray line break would shift every later caption by one."""
    lines = [" ".join(caption.replace("|||", " ").split()) for caption in captions]
    if tokenizer == "simple":
        word = re.compile(rf"[{IDEOGRAPHS}]|[^\W_{IDEOGRAPHS}]+(?:'[^\W_{IDEOGRAPHS}]+)*")
        plain = (unicodedata.normalize("NFKC", line).lower().replace("’", "'") for line in lines)
        return [" ".join(word.findall(line)) for line in plain]
    _scorers()
    from pycocoevalcap.tokenizer import ptbtokenizer

    command = [
        "java",
        "-cp",
        str(Path(ptbtokenizer.__file__).with_name(ptbtokenizer.STANFORD_CORENLP_3_4_1_JAR)),
    ]
    command += ["edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"]
    ran = subprocess.run(command, input="\n".join(lines) + "\n", capture_output=True, encoding="utf-8")
    made = ran.stdout.split("\n")[: len(lines)]
    if ran.returncode or len(made) != len(lines):
        raise ValueError(f"the PTB tokenizer failed: {ran.stderr.strip()[-300:]}")
    dropped = set(ptbtokenizer.PUNCTUATIONS)
    return [" ".join(token for token in line.split() if token not in dropped) for line in made]


def _scorers() -> tuple[Any, Any, Any]:
    """BLEU's counts, CIDEr and ROUGE-L of pycocoevalcap."""
    try:
        from pycocoevalcap.bleu.bleu_scorer import BleuScorer
        from pycocoevalcap.cider.cider import Cider
        from pycocoevalcap.rouge.rouge import Rouge
    except ImportError as error:
        raise ValueError(
            "caption scores need pycocoevalcap; type: pip install 'sensorium[evaluation]'"
        ) from error
    return BleuScorer(n=4), Cider(), Rouge()
