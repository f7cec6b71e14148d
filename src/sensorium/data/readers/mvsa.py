"""MVSA-Single and MVSA-Multiple: tweets with a picture and the sentiment of each -> samples.

Niu, Zhu, Pang and El Saddik, "Sentiment Analysis on Multi-view Social Data", MMM 2016;
https://mcrlab.net/research/mvsa-sentiment-analysis-on-multi-view-social-data/

The tweets and pictures belong to those who posted them, and the data set comes without a licence of its own: use it
for research, show single posts with care, and do not pass it on.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sensorium.data.readers.layouts import lacks, one_of_each
from sensorium.data.readers.rows import Layout, ReaderError, Samples, decoded_text
from sensorium.media import Media, MediaError, Source

LABELS = "labelResultAll.txt"
EXPECTED = f"MVSA_Single/{{{LABELS}, data/{{1.jpg, 1.txt, 2.jpg, 2.txt, …}}}}"
SENTIMENTS = ("positive", "neutral", "negative")
_CONTROLS = dict.fromkeys((*range(9), 11, 12, *range(14, 32), *range(127, 160)))  # all but tab and newline


def is_mvsa(folder: Path) -> bool:
    return (folder / LABELS).is_file() and (folder / "data").is_dir()


def read_mvsa(path: str | os.PathLike, *, allow_outside: bool = False) -> Samples:
    """The tweets that `labelResultAll.txt` names, in its order; ids are its numbers.

    Columns: image, text. Fields, each positive, neutral, negative or None:
    text_sentiment, image_sentiment: what most annotators say: in MVSA-Multiple at least two of the three, else None
    sentiment: of both, by the rule of Xu and Mao (MultiSentiNet, CIKM 2017): the label that they share, or the other
               one where one is neutral; None where one is positive and the other negative, or where one is None.
               The paper drops rows without it; here they stay, and no task trains or scores on them

    There is no official split. Texts are read at once, in whichever encoding they were saved (`tweet`); pictures are
    opened when they are needed. allow_outside: links in the folder may lead out of it.

    Raises `ReaderError` for another folder, and with the line for a label that does not exist.
    """
    root = Path(path)
    if not is_mvsa(root):
        raise lacks(root, "MVSA", "data/" if (root / LABELS).is_file() else LABELS, EXPECTED)
    modality = {"image": "image", "text": "text"}
    layout = Layout(modality, folder=root, allow_outside=allow_outside)
    samples = Samples()
    for number, (id, texts, images) in _labels(root / LABELS):
        where = f"{root / LABELS}:{number}"
        text_sentiment, image_sentiment = majority(texts), majority(images)
        picture = layout.sample({"image": f"data/{id}.jpg"}, id, where).columns["image"]
        assert isinstance(picture, Source)
        assert picture.path is not None
        row = {
            "id": id,
            "image": picture,
            "text": _read(Source("text", picture.path.with_suffix(".txt"), within=picture.within)),
            "sentiment": combined(text_sentiment, image_sentiment),
            "text_sentiment": text_sentiment,
            "image_sentiment": image_sentiment,
        }
        samples.append(layout.sample(row, id, where))
    one_of_each(samples, str(root / LABELS))
    return samples


def combined(text: str | None, image: str | None) -> str | None:
    """The sentiment of a tweet from those of its text and its picture; None where they contradict each other."""
    if text is None or image is None:
        return None
    if text == image or image == "neutral":
        return text
    return image if text == "neutral" else None


def majority(votes: Sequence[str]) -> str | None:
    """What more than half say."""
    [(label, count)] = Counter(votes).most_common(1)
    return label if count > len(votes) / 2 else None


def tweet(data: bytes) -> str:
    """The text of bytes in UTF-8, GB 2312 or Windows-1252, the encodings that copies of MVSA mix; it never fails.

    UTF-8 also where some bytes of it are broken: those become U+FFFD. Otherwise GB 2312 when all bytes above 127 come
    in pairs that it knows, since letters with accents rarely do; otherwise Windows-1252. Control characters are left
    out.
    """
    high = sum(byte > 127 for byte in data)
    utf_8 = data.decode("utf-8", errors="ignore")
    if sum(len(letter.encode()) for letter in utf_8 if ord(letter) > 127) * 2 >= high:
        text = data.decode("utf-8", errors="replace").removeprefix("\ufeff")
    else:
        try:
            text = data.decode("gb2312")
        except UnicodeDecodeError:
            text = data.decode("cp1252", errors="replace")
    return text.translate(_CONTROLS).strip()


def _read(source: Source) -> Media | Source | None:
    """The text; the file itself where it cannot be opened, which meets its error when it is decoded."""
    try:
        data = source.read()
    except MediaError:
        return decoded_text(source)
    return tweet(data) or None


def _labels(file: Path) -> list[tuple[int, tuple[str, list[str], list[str]]]]:
    """(line, (id, labels of the text, labels of the picture)), a label an annotator."""
    rows = []
    lines = file.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    annotators = None
    for number, line in enumerate(lines, start=1):
        id, *pairs = [cell.strip() for cell in line.split("\t") if cell.strip()] or [""]
        if not id or (number == 1 and id.upper() == "ID"):
            continue
        votes = [[label.strip().lower() for label in pair.split(",")] for pair in pairs]
        annotators = annotators or len(votes)
        if (
            not votes
            or len(votes) != annotators
            or any(len(vote) != 2 or not set(vote) <= set(SENTIMENTS) for vote in votes)
        ):
            raise ReaderError(
                f"{file}:{number}: got {line[:80]!r}; expected an id, a tab and {annotators or 1} × text,image, each "
                f"{', '.join(SENTIMENTS)}"
            )
        texts, images = zip(*votes)
        rows.append((number, (id, list(texts), list(images))))
    if not rows:
        raise ReaderError(f"{file}: expected at least one row such as '1\\tpositive,neutral', got none")
    return rows
