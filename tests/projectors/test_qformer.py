"""The Q-Former: parity with transformers' Blip2QFormerModel, masks, and text beside the queries."""

import pytest
import torch

from sensorium.features import Features
from sensorium.layers.query_masks import bi_directional, multimodal_causal, uni_modal
from sensorium.projectors import QFormer
from sensorium.projectors.qformer import from_transformers

W, K, Q = 12, 5, 3


def pair(layers: int = 3, cross_every: int = 2, text: bool = True):
    """transformers' Q-Former and ours with its weights: all random, the norms too, so that no map hides."""
    from transformers import Blip2QFormerConfig, Blip2QFormerModel

    torch.manual_seed(0)
    config = Blip2QFormerConfig(
        hidden_size=W,
        num_hidden_layers=layers,
        num_attention_heads=3,
        intermediate_size=20,
        cross_attention_frequency=cross_every,
        encoder_hidden_size=K,
        use_qformer_text_input=text,
        vocab_size=7,
    )
    theirs = Blip2QFormerModel(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(std=0.5)
    ours = QFormer(
        W, K, layers=layers, heads=3, hidden=20, queries=Q, cross_every=cross_every, text=text, dropout=0.1
    )
    queries = torch.randn(1, Q, W)
    ours.load_state_dict(from_transformers({**theirs.state_dict(), "query_tokens": queries}))
    return theirs, ours.eval(), queries


@pytest.mark.parametrize(
    ("layers", "cross_every", "text"), [(1, 2, False), (3, 2, False), (4, 3, True), (2, 1, True)]
)
@torch.no_grad()
def test_parity_with_blip2(layers, cross_every, text, features_of):
    theirs, ours, queries = pair(layers, cross_every, text)
    features = features_of([6, 2, 4], K)
    expected = theirs(
        query_embeds=queries.expand(3, -1, -1),
        encoder_hidden_states=features.tokens,
        encoder_attention_mask=features.mask.long(),
    ).last_hidden_state
    out = ours(features)
    torch.testing.assert_close(out.tokens, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(out.pooled, expected.mean(1), atol=1e-5, rtol=1e-5)
    assert (ours.width, ours.length, ours.length_of(577)) == (W, Q, Q)
    unmasked = theirs(query_embeds=queries.expand(3, -1, -1), encoder_hidden_states=features.tokens)
    assert (unmasked.last_hidden_state - expected).abs().max() > 1e-2  # the mask mattered


@torch.no_grad()
def test_parity_with_text_beside_the_queries(features_of):
    theirs, ours, queries = pair()
    media, text = features_of([6, 6], K), torch.randn(2, 4, W)
    positions = torch.tensor([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0, 0]])
    expected = theirs(
        query_embeds=torch.cat([queries.expand(2, -1, -1), text], 1),
        query_length=Q,
        attention_mask=positions,
        encoder_hidden_states=media.tokens,  # theirs fails on a mask of media where text stands beside
    ).last_hidden_state
    found = ours.hidden(media, text, positions.bool())
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)

    alone = theirs(query_embeds=text, query_length=0, attention_mask=positions[:, Q:]).last_hidden_state
    found = ours.hidden(None, text, positions[:, Q:].bool())
    torch.testing.assert_close(found, alone, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_masks_of_stage_one_hide_what_they_say(features_of):
    """Section 3.1: with the multimodal causal mask queries do not see text, and words only those before."""
    _, ours, _ = pair()
    media, text = features_of([6, 2], K), torch.randn(2, 4, W)
    words = torch.ones(2, 4, dtype=torch.bool)
    causal = multimodal_causal(Q, words)
    states = ours.hidden(media, text, causal)
    torch.testing.assert_close(states[:, :Q], ours(media).tokens)
    other = text.clone()
    other[:, 2:] = 9.0
    changed = ours.hidden(media, other, causal)
    torch.testing.assert_close(changed[:, : Q + 2], states[:, : Q + 2])
    assert (changed[:, Q + 2 :] - states[:, Q + 2 :]).abs().amin() > 0
    states = ours.hidden(media, text, uni_modal(Q, words))
    torch.testing.assert_close(states[:, Q:], ours.hidden(None, text))
    torch.testing.assert_close(states[:, :Q], ours(media).tokens)


def test_a_picture_beside_several_texts_is_as_several_pictures(features_of):
    """`of` names the picture of each row: the same states and gradients as with the pictures repeated."""
    _, ours, _ = pair()
    media, text, of = features_of([6, 2, 0], K), torch.randn(5, 4, W), torch.tensor([1, 0, 1, 2, 0])
    repeated = Features(media.tokens[of], media.mask[of], media.pooled[of])
    found = []
    for states in (ours.hidden(media, text, of=of), ours.hidden(repeated, text)):
        ours.zero_grad()
        states.square().sum().backward()
        found.append((states, ours.blocks[0].cross_attention.key.weight.grad.clone()))
    torch.testing.assert_close(found[0], found[1])
    with torch.no_grad():
        states = ours.hidden(media, text, bi_directional(Q, torch.ones(5, 4, dtype=torch.bool)), of)
    torch.testing.assert_close(states, found[1][0])


def test_padding_never_changes_a_result(features_of, padding_never_counts):
    _, ours, _ = pair()
    with torch.no_grad():
        padding_never_counts(ours, features_of([6, 2, 0], K))


def test_a_missing_item_gives_finite_gradients_and_is_no_token(features_of):
    torch.manual_seed(0)
    ours = QFormer(W, K, layers=2, heads=3, hidden=20, queries=Q)
    out = ours(features_of([4, 0], K))
    assert out.mask.tolist() == [[True] * Q, [False] * Q]
    assert not out.tokens[1].any()
    out.tokens.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in ours.parameters())
    assert ours.queries.grad.abs().max() > 0
    assert out.tokens[0, 0].sub(out.tokens[0, 1]).abs().max() > 0.01  # queries start apart from each other


def test_what_does_not_fit_is_refused(features_of):
    _, ours, _ = pair(text=False)
    media: Features = features_of([4], K)
    with pytest.raises(ValueError, match="text=True"):
        ours.hidden(media, torch.randn(1, 2, W))
    with pytest.raises(ValueError, match="neither media nor text"):
        ours.hidden(None)
    with pytest.raises(ValueError, match=r"no place for the weight 'language_model\.x'"):
        from_transformers({"language_model.x": torch.zeros(1)})
    with pytest.raises(ValueError, match="cross_every=0"):
        QFormer(W, K, layers=1, heads=3, hidden=20, queries=Q, cross_every=0)


@torch.no_grad()
def test_media_of_channels_that_differ_in_size_are_normed_before_they_are_read(features_of):
    torch.manual_seed(0)
    sizes = {"layers": 2, "heads": 3, "hidden": 20, "queries": Q}
    plain, normed = QFormer(W, K, **sizes), QFormer(W, K, norm_media=True, **sizes)
    started = {f"media_norm.{name}": tensor for name, tensor in torch.nn.LayerNorm(K).state_dict().items()}
    normed.load_state_dict({**plain.state_dict(), **started})
    features = features_of([6, 2, 4], K)
    tokens = torch.nn.functional.layer_norm(features.tokens, (K,))
    expected = plain(Features(tokens, features.mask, features.pooled)).tokens
    torch.testing.assert_close(normed(features).tokens, expected, atol=1e-6, rtol=0)
    assert (plain(features).tokens - expected).abs().max() > 1e-4
