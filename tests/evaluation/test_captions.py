"""Ours beside the programs of pycocoevalcap, run as its COCOEvalCap runs them (SPICE apart, which downloads)."""

import shutil

import numpy as np
import pytest

from sensorium.evaluation import captions
from sensorium.evaluation.captions import CaptionScores, tokens
from sensorium.evaluation.generated import Baselines, score_of

REFERENCES = [
    ["A red cat sits on the mat.", "The cat's mat is red!", "a cat on a mat"],
    ["Two dogs run, fast."],
    ["An e-mail (opened) on a screen", "a computer's screen; it shows a mail"],
    ["A man isn't riding a bike...", '"Nobody" rides the bike'],
    ["un café à côté de l'église"],
]
CAPTIONS = ["a cat sits on a red mat", "A dog runs fast!", "a screen", "the bike isn't ridden by a man", ""]

needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="METEOR and the PTB tokenizer need Java")


def official(right: dict, said: dict, meteor: bool = False) -> dict[str, tuple[float, np.ndarray]]:
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    found = {
        f"BLEU-{k}": pair for k, pair in enumerate(zip(*Bleu(4).compute_score(right, said, verbose=0)), 1)
    }
    found |= {"ROUGE-L": Rouge().compute_score(right, said), "CIDEr": Cider().compute_score(right, said)}
    if meteor:
        found["METEOR"] = captions.meteor_process().process.compute_score(right, said)  # seconds to start
    return found


@needs_java
def test_every_metric_equals_the_official_scorer_s_of_the_set_and_of_each_item() -> None:
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    right = PTBTokenizer().tokenize({n: [{"caption": c} for c in r] for n, r in enumerate(REFERENCES)})
    said = PTBTokenizer().tokenize({n: [{"caption": c}] for n, c in enumerate(CAPTIONS)})
    wanted = official(right, said, meteor=True)
    scorer = CaptionScores(REFERENCES)
    found = scorer(CAPTIONS)
    assert set(found) == set(wanted) == {"BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr"}
    for name, (value, values) in wanted.items():
        assert found[name].value == pytest.approx(value, abs=1e-12), name
        assert found[name].values == pytest.approx(np.asarray(values), abs=1e-12), name
        assert value > 0
    assert scorer.references == [right[n] for n in range(5)]
    assert "Penn Treebank" in found["METEOR"].note

    # A draw of items is scored as the official scorer scores a set of those items.
    rows = np.array([0, 0, 3, 1])
    drawn = [dict(enumerate(texts[row] for row in rows)) for texts in (right, said)]
    again = official(*drawn, meteor=True)
    for name in (
        "BLEU-1",
        "BLEU-4",
        "METEOR",
        "ROUGE-L",
    ):  # CIDEr's document frequencies stay the whole set's
        assert found[name].over(rows) == pytest.approx(again[name][0], abs=1e-12), name


def test_plain_words_without_java_and_what_is_left_out_is_said(monkeypatch) -> None:
    monkeypatch.setattr(captions.shutil, "which", lambda name: None)
    scorer = CaptionScores(REFERENCES)
    assert scorer.tokenizer == "simple"
    found = scorer(CAPTIONS)
    assert "METEOR" not in found
    assert all(
        "plain words" in one.note and "METEOR left out, it needs Java" in one.note for one in found.values()
    )
    right = dict(enumerate(scorer.references))
    wanted = official(right, {n: [c] for n, c in enumerate(tokens(CAPTIONS, "simple"))})
    for name, (value, _) in wanted.items():
        assert found[name].value == pytest.approx(value, abs=1e-12), name
    for asked in ({"tokenizer": "ptb"}, {"meteor": True}):
        with pytest.raises(ValueError, match="needs Java"):
            CaptionScores(REFERENCES, **asked)


def test_intervals_hold_the_value_and_a_right_caption_beats_a_blind_one() -> None:
    references = [
        [f"a {colour} {thing} on the table"] for colour in ("red", "blue") for thing in "abcdefghij"
    ]
    scorer = CaptionScores(references, "simple", meteor=False)
    good = [r[0] if n % 3 else "a thing on the table" for n, r in enumerate(references)]
    blind = scorer(["a red a on the table"] * 20)
    for name, measured in scorer(good).items():
        score = score_of(measured, Baselines(blind_withheld=blind[name]), resamples=200)
        assert score.low < score.value < score.high, name
        assert score.clears is True, name
    assert scorer([r[0] for r in references])["BLEU-4"].value == pytest.approx(1.0)
    assert scorer([r[0] for r in references])["CIDEr"].value > 5


def test_simple_tokens_are_words_and_single_ideographs() -> None:
    said = ["A man's dog, (red) IS here...", "l’été à Paris", "红色的cat在左边。", ""]
    assert tokens(said, "simple") == ["a man's dog red is here", "l'été à paris", "红 色 的 cat 在 左 边", ""]


@needs_java
def test_line_breaks_of_any_kind_do_not_shift_later_captions() -> None:
    said = ["one\u2028two\r three\x85four", "", "A man's ||| dog.", "\n", "last é"]
    assert tokens(said, "ptb") == ["one two three four", "", "a man 's dog", "", "last é"]


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(ValueError, match="item 1 has 'a dog'; expected a list"):
        CaptionScores([["a cat"], "a dog"], "simple")
    with pytest.raises(ValueError, match="item 0 has a caption without a word"):
        CaptionScores([["a cat", "!"]], "simple", meteor=False)
    with pytest.raises(ValueError, match="tokenizer: got 'word'"):
        CaptionScores([["a cat"]], "word")
    with pytest.raises(ValueError, match="captions: got 2; expected 1"):
        CaptionScores([["a cat"]], "simple", meteor=False)(["a", "b"])
