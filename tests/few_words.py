"""A tokenizer of few words, for tests that need no real one."""

from collections.abc import Sequence

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast


def few_words(words: Sequence[str]) -> PreTrainedTokenizerFast:
    """Words to ids as listed, between <s> and </s>; <pad>, <s>, </s> and <unk> must be among them."""
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[(mark, words.index(mark)) for mark in ("<s>", "</s>")]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
