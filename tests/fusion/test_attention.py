"""Fusion by attention: every kind by a second route, its maps, and what padding may not do."""

import pytest
import torch
from torch import nn

from sensorium.features import Features
from sensorium.fusion.attention import Bottleneck, CoAttention, CrossAttention, HierarchicalAttention, Tokens
from sensorium.layers import HierarchicalAttention as PooledTwice

NAMES = ("image", "text", "audio")
WIDTH = 8
LENGTHS = {
    "image": (4, 4, 0, 4, 0),
    "text": (3, 2, 1, 0, 0),
    "audio": (5, 0, 0, 2, 0),
}  # of 5 rows; 0: absent
KINDS = (Tokens, CrossAttention, CoAttention, Bottleneck, HierarchicalAttention)
every_kind = pytest.mark.parametrize("kind", KINDS)


def drawn(padding: int = 0, filler: float = 0.0) -> tuple[dict[str, Features], dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    features, present = {}, {}
    for name, lengths in LENGTHS.items():
        tokens = torch.randn(5, max(lengths), WIDTH, generator=generator)
        tokens = torch.cat([tokens, torch.zeros(5, padding, WIDTH)], 1)
        mask = torch.arange(tokens.shape[1]) < torch.tensor(lengths)[:, None]
        tokens = tokens.masked_fill(~mask[..., None], filler)
        present[name] = mask.any(1)
        features[name] = Features(tokens, mask, torch.full((5, WIDTH), float("nan")))  # which no kind reads
    return features, present


def made(kind, columns=NAMES, **options):
    torch.manual_seed(0)
    fusion = kind(columns, WIDTH, **options).eval()
    for name, parameter in fusion.named_parameters():  # learned starts are near zero: make them count
        if name in ("start", "starts", "kinds", "bottlenecks"):
            nn.init.normal_(parameter)
    return fusion


def rows(features):
    """Row by row {name: float[1, T, W]}: the real tokens of the columns that it has."""
    for row in range(5):
        yield {
            name: found.tokens[row : row + 1, found.mask[row]]
            for name, found in features.items()
            if found.mask[row].any()
        }


def close(one, other):
    torch.testing.assert_close(one, other, atol=2e-6, rtol=1e-5)


def end_to_end(fusion, vectors):
    """[v_1 ; … ; v_N] with zeros for what a row lacks, through the two layers."""
    whole = [vectors.get(name, torch.zeros(1, WIDTH)) for name in NAMES]
    return fusion.join(torch.cat(whole, 1))[0]


def test_tokens_are_one_sequence():
    fusion, (features, present) = made(Tokens), drawn()
    found = fusion(features, present).branches["fused"].pooled
    for row, own in enumerate(rows(features)):
        x = torch.cat([fusion.start] + [own[name] + fusion.kinds[NAMES.index(name)] for name in own], 1)
        for block in fusion.blocks:
            x = block(x)
        close(found[row], fusion.norm(x)[0, 0] if own else torch.zeros(WIDTH))


def test_columns_read_in_the_others():
    fusion, (features, present) = made(CrossAttention, layers=2), drawn()
    found = fusion(features, present).branches["fused"].pooled
    for row, own in enumerate(rows(features)):
        for layer in fusion.blocks:
            seen = {name: x + fusion.kinds[NAMES.index(name)] for name, x in own.items()}
            read = {}
            for name, x in own.items():
                block, others = layer[NAMES.index(name)], [seen[o] for o in own if o != name]
                if others:
                    read[name] = block(x, torch.cat(others, 1))
                else:
                    read[name] = x + block.feed_forward(block.feed_forward_norm(x))
            own = read
        vectors = {name: fusion.pools[NAMES.index(name)](x) for name, x in own.items()}
        close(found[row], end_to_end(fusion, vectors) if own else torch.zeros(WIDTH))


def test_pairs_of_columns_read_each_other():
    fusion, (features, present) = made(CoAttention), drawn()
    found = fusion(features, present).branches["fused"].pooled
    for row, own in enumerate(rows(features)):
        vectors = {}
        for n, name in enumerate(NAMES):
            if name not in own:
                continue
            reads, x = [], own[name]
            for (first, second), pair in zip(fusion.pairs, fusion.reads):
                other = {first: second, second: first}.get(n)
                if other is None or NAMES[other] not in own:
                    continue
                attention = pair.of_x if n == first else pair.of_y
                reads.append(attention(fusion.norms[n](x), fusion.norms[other](own[NAMES[other]])))
            if reads:
                x = x + torch.stack(reads).mean(0)
            x = x + fusion.feed_forwards[n](fusion.feed_forward_norms[n](x))
            vectors[name] = fusion.pools[n](x)
        close(found[row], end_to_end(fusion, vectors) if own else torch.zeros(WIDTH))


def test_all_passes_through_the_bottleneck():
    fusion, (features, present) = made(Bottleneck, layers=3, bottlenecks=2), drawn()
    found = fusion(features, present).branches["fused"].pooled
    for row, own in enumerate(rows(features)):
        z = fusion.bottlenecks
        x = {name: torch.cat([fusion.starts[NAMES.index(name)], tokens], 1) for name, tokens in own.items()}
        for layer in fusion.blocks:
            both = {name: layer[NAMES.index(name)](torch.cat([x[name], z], 1)) for name in x}
            x = {name: y[:, :-2] for name, y in both.items()}
            if both:
                z = torch.stack([y[:, -2:] for y in both.values()]).mean(0)
        ends = [fusion.norm(y[0, 0]) for y in x.values()]
        close(found[row], torch.stack(ends).mean(0) if ends else torch.zeros(WIDTH))


def test_columns_pooled_twice_are_the_layer_of_that_name():
    fusion, (features, present) = made(HierarchicalAttention), drawn()
    layer = PooledTwice(WIDTH)
    for pool in fusion.pools:
        pool.load_state_dict(layer.words.state_dict())
    fusion.over.load_state_dict(layer.sentences.state_dict())
    fusion.join, fusion.keep_attention = nn.Identity(), True
    nn.init.zeros_(fusion.kinds)
    x, mask = torch.zeros(5, 3, 5, WIDTH), torch.zeros(5, 3, 5, dtype=torch.bool)
    for n, found in enumerate(features.values()):
        x[:, n, : found.mask.shape[1]], mask[:, n, : found.mask.shape[1]] = found.tokens, found.mask
    fused = fusion(features, present)
    close(fused.branches["fused"].pooled, layer(x, mask))
    close(fused.gates, layer.sentence_weights(x, mask)[:, 0, 0])
    for n, name in enumerate(NAMES):
        width = features[name].mask.shape[1]
        close(fused.attention[f"fused→{name}"][:, 0], layer.weights(x, mask)[:, 0, n, :width])


@every_kind
def test_padding_and_what_stands_there_change_nothing(kind):
    fusion = made(kind)
    expected = fusion(*drawn()).branches["fused"].pooled
    for filler in (1e4, float("nan")):
        close(fusion(*drawn(padding=3, filler=filler)).branches["fused"].pooled, expected)


@every_kind
def test_one_token_a_column_is_enough(kind):
    fusion = made(kind)
    pooled = {name: torch.randn(3, WIDTH) for name in NAMES}
    present = {name: torch.tensor([True, name == "text", False]) for name in NAMES}
    one = fusion({name: Features.from_pooled(vector) for name, vector in pooled.items()}, present)
    blank = torch.zeros(3, 2, WIDTH)
    longer = {
        name: Features(
            torch.cat([vector[:, None], blank], 1), torch.tensor([[True, False, False]] * 3), vector
        )
        for name, vector in pooled.items()
    }
    close(fusion(longer, present).branches["fused"].pooled, one.branches["fused"].pooled)
    assert one.branches["fused"].pooled.abs().amax(1).gt(0).tolist() == [True, True, False]


@every_kind
def test_a_column_that_is_there_without_a_token_is_as_absent(kind):
    fusion, (features, present) = made(kind), drawn()
    said = {name: torch.ones_like(here) for name, here in present.items()}
    one, other = fusion(features, said), fusion(features, present)
    assert torch.equal(one.branches["fused"].pooled, other.branches["fused"].pooled)
    assert torch.equal(one.present["fused"], other.present["fused"])


@every_kind
@pytest.mark.parametrize("stage", ["train", "eval"])
def test_maps_do_not_change_the_result_and_see_only_what_is_there(kind, stage):
    fusion, (features, present) = made(kind).train(stage == "train"), drawn(padding=1, filler=float("nan"))
    plain = fusion(features, present)
    assert plain.attention == {}
    fusion.keep_attention = True
    fused = fusion(features, present)
    assert torch.equal(fused.branches["fused"].pooled, plain.branches["fused"].pooled)
    expected = {f"fused→{name}" for name in NAMES}
    if kind is not HierarchicalAttention:
        expected |= {f"{one}→{other}" for one in NAMES for other in NAMES if one != other}
    assert expected <= set(fused.attention)
    for name, map_ in fused.attention.items():
        one, other = name.split("→")
        assert map_.isfinite().all(), name
        if other in features:
            away = ~features[other].mask[:, None].expand_as(map_)
            assert not map_[away].any(), name
        if one in features:
            assert map_.shape[1] == features[one].mask.shape[1]
            assert not map_[~features[one].mask].any(), name


@every_kind
def test_weights_of_what_looks_sum_to_one(kind):
    fusion, (features, present) = made(kind), drawn()
    fusion.keep_attention = True
    maps = fusion(features, present).attention
    here = torch.stack([present[name] for name in NAMES], 1)
    of_fused = torch.stack([maps[f"fused→{name}"].sum((1, 2)) for name in NAMES], 1)
    if kind in (CrossAttention, CoAttention):  # each column is pooled by itself
        close(of_fused, here.float())
    elif kind is HierarchicalAttention:
        close(of_fused.sum(1), here.any(1).float())
    else:  # [fused] and cls also look at themselves, cls at the bottleneck
        assert (of_fused[here] > 0).all()
        assert (of_fused.sum(1) < 1).all()
    text = features["text"].mask
    if kind is CrossAttention:
        close((maps["text→image"].sum(2) + maps["text→audio"].sum(2))[text], torch.tensor([1.0] * 5 + [0.0]))
    if kind is CoAttention:
        close(maps["text→image"].sum(2)[text], torch.tensor([1.0] * 5 + [0.0]))  # row 2 has text alone
    if kind is Bottleneck:
        both = sum(maps[f"text→{name}"].sum(2) for name in ("image", "audio"))
        assert (both <= maps["text→bottleneck"].sum(2) + 1e-6).all()


def test_maps_of_one_head_are_what_was_read():
    """Of one layer and one head: values weighted by the maps of all columns are what [fused] read."""
    fusion, (features, present) = made(Tokens, layers=1, heads=1), drawn()
    fusion.keep_attention = True
    maps, block = fusion(features, present).attention, fusion.blocks[0]
    attention = block.attention
    for row, own in enumerate(rows(features)):
        if not own:
            continue
        seen = [block.norm(own[name] + fusion.kinds[NAMES.index(name)])[0] for name in own]
        shares = [maps[f"fused→{name}"][row, 0][features[name].mask[row]] for name in own]
        start = block.norm(fusion.start)[0]
        rest = 1 - sum(share.sum() for share in shares)
        read = rest * attention.value(start)[0] + sum(w @ attention.value(y) for w, y in zip(shares, seen))
        x = fusion.start[0, 0] + attention.output(read)
        x = x + block.feed_forward(block.feed_forward_norm(x))
        close(fusion(features, present).branches["fused"].pooled[row], fusion.norm(x))


def test_the_image_reaches_the_text_only_through_the_bottleneck():
    """With what leaves the bottleneck cut off, a column's end depends on itself alone."""
    fusion, (features, present) = made(Bottleneck), drawn()
    moved = features | {
        "image": Features(features["image"].tokens.flip(-1), features["image"].mask, features["image"].pooled)
    }
    last = fusion.blocks[-1][NAMES.index("text")].register_forward_pre_hook

    def end_of_text(given):
        seen = []
        handle = last(lambda block, inputs: seen.append(inputs))
        fusion(given, present)
        handle.remove()
        x, y, mask = seen[0]
        return fusion.blocks[-1][1](x, y, mask), fusion.blocks[-1][1](x, y[:, :-4], mask[:, :-4])

    whole, cut = end_of_text(features)
    whole_moved, cut_moved = end_of_text(moved)
    assert torch.equal(cut, cut_moved)
    assert (whole - whole_moved)[:2].abs().amax((1, 2)).min() > 1e-4  # rows 0 and 1 have both
    assert torch.equal(whole[2], whole_moved[2])  # row 2 has no image


def test_options_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="got width=8, heads=3"):
        Tokens(NAMES, WIDTH, heads=3)
    with pytest.raises(ValueError, match="layers: got 1; expected at least 2"):
        Bottleneck(NAMES, WIDTH, layers=1)
    with pytest.raises(ValueError, match="layers: got 0; expected at least 1"):
        CrossAttention(NAMES, WIDTH, layers=0)
    with pytest.raises(ValueError, match="bottlenecks: got 0"):
        Bottleneck(NAMES, WIDTH, bottlenecks=0)
