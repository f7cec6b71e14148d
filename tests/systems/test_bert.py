"""BERT against `transformers`: words, pairs and loss on the same masks; its folder, its sizes, its tokenizer."""

import json

import pytest
import torch
import transformers
from talking import BLOCK, randomise

from sensorium.data.masking import Masking, PairCollator
from sensorium.data.text_corpus import Document
from sensorium.data.trained_tokenizer import as_json, word_pieces
from sensorium.objectives.masked_language import MaskedLanguage
from sensorium.systems import bert, system_builder

ATOL = 1e-4
NAMES = [("red fox", "animal, red"), ("blue whale", "animal, sea"), ("green pear", "fruit, food, green")]
DOCUMENTS = [Document(str(place), "en", *texts) for place, texts in enumerate(NAMES)]


@pytest.fixture(scope="module")
def pieces():
    return word_pieces([document.text for document in DOCUMENTS], 60)


@pytest.fixture
def theirs(pieces):
    config = transformers.BertConfig(vocab_size=len(pieces), max_position_embeddings=40, **BLOCK)
    return randomise(transformers.BertForPreTraining(config))


def test_bert_is_transformers_bert_in_words_pairs_and_loss(theirs, pieces):
    ours = bert.from_transformers(theirs, pieces)
    batch = PairCollator(DOCUMENTS, pieces, masking=Masking(share=0.4))([0, 1, 2, 0, 1, 2])
    assert set(batch.strange.tolist()) == {0, 1}
    assert not batch.inputs["mask"].all()  # some are padded
    asked = {
        "input_ids": batch.inputs["ids"],
        "attention_mask": batch.inputs["mask"].long(),
        "token_type_ids": batch.inputs["segments"],
    }
    with torch.no_grad():
        want = theirs(**asked, labels=batch.targets, next_sentence_label=batch.strange)
        got, losses = ours(batch.inputs), MaskedLanguage()(ours, batch)
        unsegmented = ours({**batch.inputs, "segments": torch.zeros_like(batch.inputs["segments"])})
    real = batch.inputs["mask"]
    torch.testing.assert_close(got.words[real], want.prediction_logits[real], atol=ATOL, rtol=0)
    torch.testing.assert_close(got.pairs, want.seq_relationship_logits, atol=ATOL, rtol=0)
    torch.testing.assert_close(sum(losses.values()), want.loss, atol=ATOL, rtol=0)
    assert (got.words - unsegmented.words)[real].abs().max() > 30 * ATOL  # the segments count

    back = bert.to_transformers(ours)
    mine, given = back.state_dict(), theirs.state_dict()
    assert mine.keys() == given.keys()
    assert all(torch.equal(mine[name], given[name]) for name in given)


def test_a_saved_folder_opens(theirs, pieces, tmp_path):
    theirs.save_pretrained(tmp_path)
    pieces.save_pretrained(tmp_path)
    opened, given = system_builder("bert")(pretrained=str(tmp_path)), bert.from_transformers(theirs, pieces)
    state = opened.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in given.state_dict().items())
    assert opened.encoder.prepare(["red fox"])["ids"].tolist() == [pieces("red fox")["input_ids"]]


def test_a_built_one_reads_its_tokenizer_from_json_and_ties_its_words(pieces):
    model = bert.bert("tiny", json.loads(json.dumps(as_json(pieces))))
    assert model.encoder.tokenizer("red whale")["input_ids"] == pieces("red whale")["input_ids"]
    names = dict(model.named_parameters())
    table = names["encoder.model.embeddings.word_embeddings.weight"]
    assert not [name for name in names if name.startswith("words.table")]
    model.words(torch.randn(3, 128)).sum().backward()
    assert table.grad.abs().sum() > 0  # the head learns through the encoder's own words


@pytest.mark.parametrize(("size", "millions"), [("base", 110), ("large", 340)])
def test_sizes_are_the_papers(size, millions):
    """Devlin et al. 2019, §3, with 30,522 words."""

    class Words(list):
        pad_token_id = 0

    with torch.device("meta"):
        model = bert._assemble(bert._config(bert.SIZES[size], Words([0] * 30522), 0.1), _NoTokenizer())
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, rel=0.02)


class _NoTokenizer:
    model_max_length = 512
    backend_tokenizer = None

    def get_vocab(self):
        return {}
