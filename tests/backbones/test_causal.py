"""A causal language model through its embeddings against its own forward on ids."""

import copy

import pytest
import torch
import transformers

from sensorium.backbones import CausalBackbone

ATOL = 1e-5


def through(backbone, ids, **options):
    with torch.no_grad():
        return backbone.logits(backbone(backbone.embed(ids), **options))


def causal_mask(B, L):
    return torch.ones(L, L, dtype=torch.bool).tril().expand(B, L, L)


def test_embeddings_give_what_ids_give(causal, ids):
    backbone = CausalBackbone(causal, None)
    with torch.no_grad():
        theirs = causal(input_ids=ids).logits
    torch.testing.assert_close(through(backbone, ids), theirs, atol=ATOL, rtol=0)
    explicit = through(backbone, ids, attend=causal_mask(*ids.shape))
    torch.testing.assert_close(explicit, theirs, atol=ATOL, rtol=0)
    assert (theirs[0] - theirs[1]).abs().max() > 100 * ATOL


def test_two_conversations_in_a_row_are_two_rows(causal, ids):
    """Block-diagonal attention and restarted positions, 4 and 5 tokens."""
    backbone = CausalBackbone(causal, None)
    row, first, second = ids[:1], ids[:1, :4], ids[:1, 4:]
    attend = torch.zeros(1, 9, 9, dtype=torch.bool)
    attend[:, :4, :4], attend[:, 4:, 4:] = causal_mask(1, 4), causal_mask(1, 5)
    positions = torch.tensor([[0, 1, 2, 3, 0, 1, 2, 3, 4]])
    packed = through(backbone, row, attend=attend, positions=positions)
    apart = torch.cat([through(backbone, first), through(backbone, second)], 1)
    torch.testing.assert_close(packed, apart, atol=ATOL, rtol=0)


@pytest.mark.parametrize("masked", [False, True])
def test_a_cache_changes_nothing(masked, causal, ids):
    backbone = CausalBackbone(causal, None)
    B, L = ids.shape
    whole = through(backbone, ids)
    cache = transformers.DynamicCache(config=causal.config)
    mask = causal_mask(B, L)
    parts = [
        through(backbone, ids[:, start:end], cache=cache, attend=mask[:, start:end, :end] if masked else None)
        for start, end in ((0, 6), (6, 7), (7, 9))
    ]
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=ATOL, rtol=0)


def test_lora_starts_as_the_model_and_merges_into_it(causal, ids):
    before = through(CausalBackbone(causal, None), ids)
    backbone = CausalBackbone(causal, None, source="hf:some/model").add_lora(rank=2, alpha=4)
    torch.testing.assert_close(through(backbone, ids), before, atol=0, rtol=0)
    learning = {name: p for name, p in backbone.named_parameters() if p.requires_grad}
    assert learning
    assert all(".lora_" in name for name in learning)
    with torch.no_grad():
        for parameter in learning.values():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    adapted = through(backbone, ids)
    assert (adapted - before).abs().max() > 0.01
    merged = backbone.merged()
    torch.testing.assert_close(through(merged, ids), adapted, atol=ATOL, rtol=0)
    assert not any("lora" in name or "base_layer" in name for name in merged.state_dict())
    assert merged.source is None
    assert set(merged.state_dict()) == set(CausalBackbone(copy.deepcopy(merged.lm), None).state_dict())
    torch.testing.assert_close(through(backbone, ids), adapted, atol=0, rtol=0)  # the first is as it was
    merged.add_lora()  # has none, takes new ones


def test_lora_takes_the_layers_it_is_told(llama):
    backbone = CausalBackbone(llama, None).add_lora(rank=3, targets=["q_proj", "v_proj"])
    shapes = {n.split(".")[-4]: tuple(p.shape) for n, p in backbone.named_parameters() if ".lora_A." in n}
    assert shapes == {"q_proj": (3, 32), "v_proj": (3, 32)}
    with pytest.raises(ValueError, match="has LoRA layers already"):
        backbone.add_lora()
    with pytest.raises(ValueError, match=r"got \['c_attn'\].*q_proj"):
        backbone.merged().add_lora(targets=["q_proj", "c_attn"])


@pytest.mark.parametrize("training", [False, True])
def test_checkpointed_gradients_are_the_same_and_keep_less(training, causal, ids):
    backbone = CausalBackbone(causal, None).train(training)
    backbone.requires_grad_(False)
    embeddings = backbone.embed(ids).requires_grad_()

    def step():
        kept = 0

        def count(tensor):
            nonlocal kept
            kept += tensor.numel()
            return tensor

        torch.manual_seed(5)  # for dropout
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            loss = backbone.logits(backbone(embeddings)).square().mean()
        (gradient,) = torch.autograd.grad(loss, embeddings)
        return gradient, kept

    plain, much = step()
    backbone.checkpoint_gradients()
    again, little = step()
    torch.testing.assert_close(again, plain, atol=1e-7, rtol=1e-5)
    assert little < 0.6 * much
    backbone.checkpoint_gradients(False)
    assert step()[1] == much


def test_a_checkpointed_backbone_can_be_copied_and_keep_a_cache(llama, ids):
    backbone = CausalBackbone(llama, None).checkpoint_gradients()
    twin = copy.deepcopy(backbone)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.mul_(1.5)
    assert (through(twin, ids) - through(backbone, ids)).abs().max() > 0.01  # runs its own layers
    cache = transformers.DynamicCache(config=llama.config)
    embeddings = backbone.embed(ids).requires_grad_()
    backbone(embeddings, cache=cache).sum().backward()
    assert cache.get_seq_length() == ids.shape[1]


def test_a_folder_opens_quietly(llama, ids, tmp_path, capfd):
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=_words())
    llama.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    capfd.readouterr()
    backbone = CausalBackbone.pretrained(tmp_path)
    assert capfd.readouterr() == ("", "")
    assert backbone.source == str(tmp_path)
    assert backbone.tokenizer("a b")["input_ids"] == [0, 1]
    torch.testing.assert_close(through(backbone, ids), through(CausalBackbone(llama, None), ids))


def test_a_file_that_lacks_weights_is_refused(llama, tmp_path):
    from safetensors.torch import load_file, save_file

    llama.save_pretrained(tmp_path)
    transformers.PreTrainedTokenizerFast(tokenizer_object=_words()).save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    state.pop("model.layers.1.mlp.up_proj.weight")
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        ValueError, match=r"lacks 1 weights of LlamaForCausalLM, such as model\.layers\.1\.mlp"
    ):
        CausalBackbone.pretrained(tmp_path)


def test_models_whose_head_is_not_their_last_step_are_refused(t5):
    cohere = transformers.CohereConfig(
        vocab_size=40, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4
    )
    with pytest.raises(ValueError, match=r"CohereForCausalLM changes its logits .*logit_scale=0.0625"):
        CausalBackbone.random(cohere, None)
    with pytest.raises(ValueError, match="encoder-decoder T5ForConditionalGeneration"):
        CausalBackbone(t5, None)


def _words():
    from tokenizers import Tokenizer, models, pre_tokenizers

    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate("ab")}, unk_token="a"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return inner
