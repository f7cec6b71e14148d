"""Tokenizers learned from a corpus: texts -> a tokenizer of `transformers` -> JSON that a checkpoint keeps.

The same texts give the same tokenizer, in every process: a resumed run reads what the interrupted one read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

PADDING, UNKNOWN, FIRST, SEPARATOR, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
BERT_MARKS = {
    "pad_token": PADDING,
    "unk_token": UNKNOWN,
    "cls_token": FIRST,
    "sep_token": SEPARATOR,
    "mask_token": MASK,
}
END = "<|endoftext|>"
GPT_MARKS = {"bos_token": END, "eos_token": END, "pad_token": END}
CONTINUES = "##"


def word_pieces(texts: Sequence[str], words: int = 4000) -> Any:
    """BERT's tokenizer (Devlin et al. 2019, §3): lower-case pieces of words, between [CLS] and [SEP].

    words: size of the vocabulary, signs and marks included. Accents stay: they tell words apart in most languages.
    Raises ValueError when the corpus has more different signs than that.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    def pipeline(model: Any) -> Any:
        made = Tokenizer(model)
        made.normalizer = normalizers.BertNormalizer(strip_accents=False)
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        return made

    learning = pipeline(models.WordPiece(unk_token=UNKNOWN))
    inner, first = set(), set()
    for text in texts:
        normal = learning.normalizer.normalize_str(text)
        for word, _ in learning.pre_tokenizer.pre_tokenize_str(normal):
            first.add(word[0])
            inner.update(word[1:])
    marks = list(BERT_MARKS.values())
    # The trainer numbers pieces within words in the order of a hash table and breaks ties by those numbers, so that
    # two processes would learn two vocabularies. Named as marks, they have numbers of their own from the start.
    signs = [*sorted(first | inner), *(CONTINUES + sign for sign in sorted(inner))]
    _check_room(words, len(marks) + len(signs))
    trainer = trainers.WordPieceTrainer(
        vocab_size=words,
        special_tokens=marks + signs,
        show_progress=False,
        continuing_subword_prefix=CONTINUES,
    )
    learning.train_from_iterator(texts, trainer)
    vocabulary = learning.get_vocab(with_added_tokens=True)
    made = pipeline(models.WordPiece(vocabulary, unk_token=UNKNOWN))
    made.add_special_tokens(marks)
    ends = [(mark, vocabulary[mark]) for mark in (FIRST, SEPARATOR)]
    made.post_processor = processors.TemplateProcessing(
        single=f"{FIRST} $A {SEPARATOR}",
        pair=f"{FIRST} $A {SEPARATOR} $B:1 {SEPARATOR}:1",
        special_tokens=ends,
    )
    return opened({"marks": BERT_MARKS, "tokenizer": json.loads(made.to_str())})


def byte_pairs(texts: Sequence[str], words: int = 4000) -> Any:
    """GPT-2's tokenizer (Radford et al. 2019, §2.2): pairs of bytes merged, so that nothing is unknown.

    words: size of the vocabulary, the 256 bytes and the end mark included. Raises ValueError for fewer.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    bytes_ = sorted(pre_tokenizers.ByteLevel.alphabet())
    _check_room(words, len(bytes_) + 1)
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=words, special_tokens=[END], initial_alphabet=bytes_, show_progress=False
    )
    made.train_from_iterator(texts, trainer)
    return opened({"marks": GPT_MARKS, "tokenizer": json.loads(made.to_str())})


def as_json(tokenizer: Any) -> dict[str, Any]:
    """All that `opened` needs, as JSON values: an argument of a system that its checkpoint keeps in system.json."""
    whole = json.loads(tokenizer.backend_tokenizer.to_str()) | {"truncation": None, "padding": None}
    names = (*BERT_MARKS, "bos_token", "eos_token")
    marks = {name: mark for name in names if (mark := getattr(tokenizer, name)) is not None}
    return {"marks": marks, "tokenizer": whole}


def opened(written: Mapping[str, Any]) -> Any:
    """The tokenizer of `transformers` that `as_json` wrote. Raises ValueError for anything else."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    if set(written) != {"marks", "tokenizer"}:
        raise ValueError(
            f"tokenizer: got keys {sorted(written)}; expected marks and tokenizer, as trained_tokenizer.as_json writes"
        )
    inner = Tokenizer.from_str(json.dumps(written["tokenizer"]))
    return PreTrainedTokenizerFast(tokenizer_object=inner, **written["marks"])


def _check_room(words: int, needed: int) -> None:
    if words < needed:
        raise ValueError(
            f"words={words}; the corpus has {needed} different signs and marks alone: give more words"
        )
