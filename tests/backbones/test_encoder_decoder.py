"""T5 and its kin through their embeddings against their own forward on ids."""

import pytest
import torch
import transformers

from sensorium.backbones import EncoderDecoderBackbone

ATOL = 1e-5


def through(backbone, ids, *rest):
    with torch.no_grad():
        return backbone.logits(backbone(backbone.embed(ids), *rest))


@pytest.fixture
def answers():
    return torch.tensor([[0, 5, 9, 12], [0, 30, 4, 2]])


def test_embeddings_give_what_ids_give(encoder_decoder, ids, answers):
    backbone = EncoderDecoderBackbone(encoder_decoder, None)
    attend = torch.ones_like(ids, dtype=torch.bool)
    attend[1, 6:] = False
    heard = torch.tensor([[True] * 4, [True] * 3 + [False]])
    with torch.no_grad():
        theirs = encoder_decoder(
            input_ids=ids,
            attention_mask=attend.long(),
            decoder_input_ids=answers,
            decoder_attention_mask=heard.long(),
        ).logits
        plain = encoder_decoder(input_ids=ids, decoder_input_ids=answers).logits
    ours = through(backbone, ids, attend, answers, heard)
    torch.testing.assert_close(ours[heard], theirs[heard], atol=ATOL, rtol=0)
    torch.testing.assert_close(through(backbone, ids, None, answers), plain, atol=ATOL, rtol=0)
    assert (theirs[0] - theirs[1]).abs().max() > 100 * ATOL
    assert (plain[1] - theirs[1]).abs().max() > 100 * ATOL
    cut = through(backbone, ids[1:, :6], None, answers[1:, :3])
    torch.testing.assert_close(ours[1:, :3], cut, atol=ATOL, rtol=0)  # padding never counts


def test_a_cache_changes_nothing(encoder_decoder, ids, answers):
    backbone = EncoderDecoderBackbone(encoder_decoder, None)
    whole = through(backbone, ids, None, answers)
    empty = transformers.DynamicCache
    cache = transformers.EncoderDecoderCache(empty(), empty())
    with torch.no_grad():
        memory = backbone.encode(backbone.embed(ids))
        steps = [
            backbone.logits(backbone.decode(memory, None, answers[:, [u]], cache=cache)) for u in range(4)
        ]
    torch.testing.assert_close(torch.cat(steps, 1), whole, atol=ATOL, rtol=0)


def test_tied_heads_see_scaled_states(encoder_decoder):
    """T5 multiplies by D ** -0.5 (D = 32), the untied T5 1.1 does not."""
    backbone = EncoderDecoderBackbone(encoder_decoder, None)
    untied = encoder_decoder.config.model_type == "mt5" or encoder_decoder.config.is_gated_act
    assert backbone.scale == (1.0 if untied and encoder_decoder.config.model_type != "umt5" else 32**-0.5)


def test_lora_merges(encoder_decoder, ids, answers):
    before = through(EncoderDecoderBackbone(encoder_decoder, None), ids, None, answers)
    backbone = EncoderDecoderBackbone(encoder_decoder, None).add_lora(rank=2)
    torch.testing.assert_close(through(backbone, ids, None, answers), before, atol=0, rtol=0)
    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            if ".lora_" in name:
                parameter.add_(0.1 * torch.randn(parameter.shape))
    adapted = through(backbone, ids, None, answers)
    assert (adapted - before).abs().max() > 0.01
    merged = backbone.merged()
    torch.testing.assert_close(through(merged, ids, None, answers), adapted, atol=ATOL, rtol=1e-4)
    assert not any("lora" in name for name in merged.state_dict())


def test_checkpointed_gradients_are_the_same(t5, ids, answers):
    backbone = EncoderDecoderBackbone(t5, None).requires_grad_(False)
    embeddings = backbone.embed(ids).requires_grad_()

    def gradient():
        loss = backbone.logits(backbone(embeddings, None, answers)).square().mean()
        return torch.autograd.grad(loss, embeddings)[0]

    plain = gradient()
    backbone.checkpoint_gradients()
    torch.testing.assert_close(gradient(), plain, atol=1e-7, rtol=1e-5)
    assert plain.abs().max() > 1e-4


def test_the_start_and_other_kinds(t5, llama):
    assert EncoderDecoderBackbone(t5, None).start_id == 0
    with pytest.raises(ValueError, match=r"LlamaForCausalLM of kind 'llama'; expected one of t5, longt5"):
        EncoderDecoderBackbone(llama, None)
