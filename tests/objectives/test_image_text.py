"""BLIP's three losses against hand-made ones, and the queue against its own definition."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from few_words import few_words

from sensorium.data.batch import collate
from sensorium.data.sample import Batch, Sample
from sensorium.models.encoder_decoder import EncoderDecoder, Words
from sensorium.objectives.captioning import Captioning
from sensorium.objectives.image_text import ImageText
from sensorium.objectives.info_nce import InfoNCE
from sensorium.objectives.matching import Matching, hard_negatives, same_meaning
from sensorium.objectives.momentum_contrast import MomentumContrast
from sensorium.systems import blip as module
from sensorium.systems.blip import blip

NAMES = ["the", "red", "blue", "cat", "dog", "ship", "runs", "sleeps", "loud", "bell", "rings"]
WORDS = [*NAMES, "<unk>", "<pad>", "<s>", "</s>"]
SMALL = module.Size(32, 16, 16, 1, 2, 16, 2, 2, 8)


@pytest.fixture
def model(monkeypatch) -> EncoderDecoder:
    monkeypatch.setitem(module.SIZES, "small", SMALL)
    torch.manual_seed(0)
    return blip("small", few_words(WORDS), queue=5)


def batch_of(model: EncoderDecoder, pictures: list, texts: list[str], missing: int | None = None) -> Batch:
    samples = [
        Sample(
            str(n),
            {"text": text} if n == missing else {"image": picture, "text": text},
            {"image": "image", "text": "text"},
            (text,),
        )
        for n, (picture, text) in enumerate(zip(pictures, texts, strict=True))
    ]
    return collate(samples, model.by_column)


def test_negatives_are_the_likely_ones_and_never_right():
    torch.manual_seed(0)
    logits = torch.tensor([[9.0, 2.0, 0.0, 9.0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 30.0, 0, 0]])
    same = same_meaning(torch.tensor([[1, -1], [2, 3], [3, -1], [4, 1]]))
    assert same.int().tolist() == [[1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 1, 0], [1, 0, 0, 1]]
    drawn = []
    for _ in range(300):
        rows, partners = hard_negatives(logits, same)
        assert rows.tolist() == [0, 1, 2, 3]
        assert not same[rows, partners].any()
        drawn.append(partners)
    share = torch.stack(drawn).eq(1).float().mean(0)
    weights = logits.softmax(1) + 1e-4
    want = (weights[0, 1] / weights[0, 1:3].sum()).item()
    assert share[0].item() == pytest.approx(want, abs=0.06)
    assert share[3].item() > 0.99
    rows, partners = hard_negatives(torch.zeros(2, 2), torch.ones(2, 2, dtype=torch.bool))
    assert len(rows) == len(partners) == 0


def test_matching_is_yes_for_the_pair_and_no_for_the_other_texts_and_pictures(model, pictures):
    """Of two pairs each is the only negative of the other, so nothing is left to chance."""
    batch = batch_of(model, pictures[:2], ["the red cat", "dog runs"])
    with torch.no_grad():
        loss = Matching()(model, batch)["matching"]
        tokens, _ = model.see(batch.columns["image"].inputs)
        words = model.marked(model.words(["the red cat", "dog runs"]), "encode")
        crossed = Words(words.ids.flip(0), words.mask.flip(0))
        yes, no = (
            model.match(words, tokens).log_softmax(1)[:, 1],
            model.match(crossed, tokens).log_softmax(1)[:, 0],
        )
    assert words.ids[:, 0].tolist() == [model.markers["encode"]] * 2 == [len(WORDS) + 1] * 2
    # Each crossed pair comes twice: as a picture's wrong text and as a text's wrong picture.
    torch.testing.assert_close(loss, -(yes.sum() + 2 * no.sum()) / 6)
    alike = replace(batch, meanings=torch.tensor([[7], [7]]))
    with torch.no_grad():
        torch.testing.assert_close(Matching()(model, alike)["matching"], -yes.mean())


def test_captioning_counts_real_tokens_only_and_smooths(model, pictures):
    texts = ["the red cat sleeps", "dog", "loud bell"]
    batch = batch_of(model, pictures, texts)
    with torch.no_grad():
        got = Captioning(smoothing=0.2)(model, batch)["captioning"]
        tokens, _ = model.see(batch.columns["image"].inputs)
        sums, count = torch.zeros(()), 0
        for row, text in enumerate(texts):
            words = model.marked(model.words([text]), "decode")
            logits = model.next_words(model.decode(words, tokens[row : row + 1]))[0, :-1].log_softmax(-1)
            own = logits.gather(1, words.ids[0, 1:, None])[:, 0]
            sums = sums - (0.8 * own + 0.2 * logits.mean(1)).sum()
            count += len(own)
    assert count == 4 + 1 + 2 + 3  # and the ends
    torch.testing.assert_close(got, sums / count)


def test_the_sum_of_three_and_a_row_without_its_picture(model, pictures):
    texts = ["the red cat", "dog runs", "loud bell"]
    model.queue = None
    whole = batch_of(model, pictures[1:], texts[1:])
    holey = batch_of(model, pictures, texts, missing=0)
    objective = ImageText()
    found = []
    for batch in (whole, holey):
        torch.manual_seed(3)
        found.append({name: loss.item() for name, loss in objective(model, batch).items()})
    assert found[0] == pytest.approx(found[1], abs=1e-6)
    assert list(found[0]) == ["contrast", "matching", "captioning"]
    sum(objective(model, holey).values()).backward()
    lacking = {name for name, p in model.named_parameters() if p.grad is None}
    assert lacking == set()


def test_without_softening_and_memory_it_is_clips_loss_and_then_the_queue_counts(model, pictures):
    batch = batch_of(model, pictures, ["the red cat", "dog runs", "loud bell"])
    model.train()
    with torch.no_grad():
        pairs = model(batch)
        got = MomentumContrast(alpha=0.0)(model, batch)["contrast"]
        (plain,) = InfoNCE().losses(pairs, batch.meanings).values()
        torch.testing.assert_close(got, plain)
        assert model.queue.held() == 3
        torch.testing.assert_close(model.queue.images[:3], pairs.vectors["image"])
        # The same rows again: each now has two right candidates among six, itself and its remembered self.
        again = MomentumContrast(alpha=0.4)(model, batch)["contrast"]
        losses = []
        for mine, others in (("image", "text"), ("text", "image")):
            x, y = pairs.vectors[mine], torch.cat([pairs.vectors[others]] * 2)
            right = torch.eye(3).repeat(1, 2) / 2
            target = 0.4 * (pairs.scale * x @ y.T).softmax(1) + 0.6 * right
            losses.append(F.cross_entropy(pairs.scale * x @ y.T, target))
        torch.testing.assert_close(again, sum(losses) / 2)
    assert model.queue.held() == 5
    assert model.queue.filled.item() == 6
    torch.testing.assert_close(model.queue.images[0], pairs.vectors["image"][2])  # over the oldest


def test_the_copy_follows_by_its_momentum_and_only_in_training(model, pictures):
    batch = batch_of(model, pictures, ["the red cat", "dog runs", "loud bell"])
    weight: Any = model.queue.copies["image_head"].weight
    before = weight.clone()
    with torch.no_grad():
        model.heads["image"].weight.add_(1.0)
    model.eval()
    MomentumContrast()(model, batch)
    assert torch.equal(weight, before)
    assert model.queue.held() == 0
    model.train()
    MomentumContrast()(model, batch)
    torch.testing.assert_close(weight, before + 0.005)
    assert not any(p.requires_grad for p in model.queue.parameters())


def test_options_out_of_range():
    for made in (lambda: Captioning(1.0), lambda: MomentumContrast(-0.1)):
        with pytest.raises(ValueError, match="give 0 <= "):
            made()
    assert Matching().losses(None, SimpleNamespace(image=torch.zeros(1, 1, 1)), torch.zeros(1, 1)) == {}
