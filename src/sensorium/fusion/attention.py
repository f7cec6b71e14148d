"""Fusion by attention: columns are joined token by token, not as one vector each.

Tokens                 all tokens of all columns in one sequence
CrossAttention         each column reads in the others
CoAttention            columns read each other pair by pair
Bottleneck             columns only meet in a few tokens between them
HierarchicalAttention  tokens pooled to columns, columns pooled to one vector

B row, N column, T token of a column, R bottleneck token, H head, W width. An absent column has no real token, and
attention sees none of it: whatever stands there is zeroed before anything is computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn

from sensorium.features import Features
from sensorium.fusion.early import joined, two_layers
from sensorium.fusion.fusion import Fused, Fusion
from sensorium.layers import AttentionBlock, AttentionPooling, FeedForward
from sensorium.layers import CoAttention as PairAttention

BLANK = 0.02  # deviation of learned tokens and embeddings at the start (BERT's)


class TokenFusion(Fusion):
    """What fusions by attention share: reading real tokens, and pooling columns that are then joined as vectors."""

    reads_tokens = True

    def real(
        self, features: Mapping[str, Features], present: Mapping[str, Tensor]
    ) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """By column float[B, T, W], zeros where not real, and bool[B, T]; bool[B, N]: which have a real token."""
        masks = [features[column].mask & present[column][:, None] for column in self.columns]
        tokens = [
            features[column].tokens.masked_fill(~mask[..., None], 0.0)
            for column, mask in zip(self.columns, masks)
        ]
        return tokens, masks, torch.stack([mask.any(1) for mask in masks], 1)


class Tokens(TokenFusion):
    """Early fusion of tokens: one sequence, one small transformer, one token that stands for the whole.

        [fused] [tokens_1 + e_1] … [tokens_N + e_N] ──► AttentionBlock × layers ──► norm ──► of [fused]: fused

    As VisualBERT (Li et al. 2019, arXiv:1908.03557, section 3.2) and ViLT (Kim et al. 2021, arXiv:2102.03334) do; e_n
    is learned and says of which column a token is.

    attention: of the last layer: "fused→image", "text→image", "text→text", … A query's weights over all columns and
               [fused] itself sum to 1.
    """

    def __init__(
        self, columns: Sequence[str], width: int, dropout: float = 0.0, heads: int = 4, layers: int = 2
    ) -> None:
        super().__init__(columns, width)
        at_least_layers(layers, 1)
        self.start = nn.Parameter(BLANK * torch.randn(1, 1, width))
        self.kinds = nn.Parameter(BLANK * torch.randn(len(self.columns), width))
        self.blocks = blocks(width, heads, dropout, layers)
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Mapping[str, Features], present: Mapping[str, Tensor]) -> Fused:
        tokens, masks, here = self.real(features, present)
        tokens = [part + kind for part, kind in zip(tokens, self.kinds)]
        x = torch.cat([self.start.expand(len(here), 1, -1), *tokens], 1)  # [B, 1 + T_1 + … + T_N, W]
        mask = torch.cat([here.any(1, keepdim=True), *masks], 1)
        for block in self.blocks[:-1]:
            x = block(x, mask=mask)
        fused = self.norm(self.blocks[-1](x[:, :1], x, mask)[:, 0])  # of the last layer one token is needed
        found = joined(fused, here)
        return replace(found, attention=self._maps(x, mask, masks)) if self.keep_attention else found

    def _maps(self, x: Tensor, mask: Tensor, masks: list[Tensor]) -> dict[str, Tensor]:
        weights = self.blocks[-1].weights(x, mask=mask).mean(1).masked_fill(~mask[..., None], 0.0)
        lengths = [1, *(part.shape[1] for part in masks)]
        names = ("fused", *self.columns)
        return {
            f"{one}→{other}": part
            for one, rows in zip(names, weights.split(lengths, 1))
            for other, part in zip(names, rows.split(lengths, 2))
            if other != "fused"
        }


class CrossAttention(TokenFusion):
    """Each column's tokens read in those of all the others; then each is pooled, and the vectors are joined.

        tokens_n ──► AttentionBlock (reads all tokens_m + e_m, m ≠ n) × layers ──► norm ──► AttentionPooling ──► v_n
        [v_1 ; … ; v_N] ──► linear ──► GELU ──► dropout ──► linear ──► fused

    After MulT's cross-modal transformers (Tsai et al. 2019, arXiv:1906.00295, section 3.1), with one softmax over all
    the others instead of one a pair, so that the layers grow with N and not with N². A column that is alone keeps
    what it has; a fusion of one column reads that column itself.

    attention: of the last layer "text→image", …: a query's weights over the others sum to 1; "fused→image", …: of the
               pooling, which sum to 1 a column.
    """

    def __init__(
        self, columns: Sequence[str], width: int, dropout: float = 0.0, heads: int = 4, layers: int = 1
    ) -> None:
        super().__init__(columns, width)
        at_least_layers(layers, 1)
        self.kinds = nn.Parameter(BLANK * torch.randn(len(self.columns), width))
        self.blocks: Any = nn.ModuleList(
            blocks(width, heads, dropout, len(self.columns)) for _ in range(layers)
        )
        self.pools = pools(width, len(self.columns))
        self.join = two_layers(len(self.columns) * width, width, dropout)

    def forward(self, features: Mapping[str, Features], present: Mapping[str, Tensor]) -> Fused:
        tokens, masks, here = self.real(features, present)
        maps: dict[str, Tensor] = {}
        for layer in self.blocks:
            seen = [part + kind for part, kind in zip(tokens, self.kinds)]
            read = []
            for n, (block, x) in enumerate(zip(layer, tokens)):
                others = [m for m in range(len(tokens)) if m != n] or [n]
                y, y_mask = torch.cat([seen[m] for m in others], 1), torch.cat([masks[m] for m in others], 1)
                read.append(block(x, y, y_mask))
                if self.keep_attention:
                    weights = block.weights(x, y, y_mask).mean(1).masked_fill(~masks[n][..., None], 0.0)
                    parts = weights.split([masks[m].shape[1] for m in others], 2)
                    maps |= {f"{self.columns[n]}→{self.columns[m]}": w for m, w in zip(others, parts)}
            tokens = read  # all at once: each has read what the others were before
        vectors = pooled(self.pools, tokens, masks)
        found = joined(self.join(torch.cat(vectors, 1)), here)
        if not self.keep_attention:
            return found
        return replace(found, attention=maps | pooling_maps(self.columns, self.pools, tokens, masks))


class CoAttention(TokenFusion):
    """Every pair of columns reads each other, in both directions at once; then pooled and joined.

        x_n ──► norm ──► CoAttention with each x_m ──► mean over the present m ──(+)──► x'_n
        x'_n ──► norm ──► feed-forward ──(+)──► AttentionPooling ──► v_n
        [v_1 ; … ; v_N] ──► linear ──► GELU ──► dropout ──► linear ──► fused

    The co-attentional layer of ViLBERT (Lu et al. 2019, arXiv:1908.02265, figure 2b) between any number of columns:
    each pair has maps of its own, and a column reads every other in full. `CrossAttention` has others compete instead.

    attention: "text→image", …: a query's weights over one other column sum to 1; "fused→image", …: of the pooling.
    """

    def __init__(self, columns: Sequence[str], width: int, dropout: float = 0.0, heads: int = 4) -> None:
        super().__init__(columns, width)
        N = len(self.columns)
        self.pairs = list(combinations(range(N), 2))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(N if self.pairs else 0))
        self.reads: Any = nn.ModuleList(PairAttention(width, heads) for _ in self.pairs)
        self.feed_forward_norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(N))
        self.feed_forwards = nn.ModuleList(FeedForward(width, 2 * width) for _ in range(N))
        self.dropout = nn.Dropout(dropout)
        self.pools = pools(width, N)
        self.join = two_layers(N * width, width, dropout)

    def forward(self, features: Mapping[str, Features], present: Mapping[str, Tensor]) -> Fused:
        tokens, masks, here = self.real(features, present)
        normed = [norm(x) for norm, x in zip(self.norms, tokens)]
        read = [torch.zeros_like(x) for x in tokens]
        for (n, m), layer in zip(self.pairs, self.reads):
            of_n, of_m = layer(normed[n], normed[m], masks[m], masks[n])
            read[n], read[m] = read[n] + of_n, read[m] + of_m  # zeros from a column that is absent
        partners = (here.sum(1) - 1).clamp(min=1)[:, None, None]  # of a column that is there
        x = [part + self.dropout(of / partners) for part, of in zip(tokens, read)]
        x = [
            part + self.dropout(layer(norm(part)))
            for part, norm, layer in zip(x, self.feed_forward_norms, self.feed_forwards)
        ]
        found = joined(self.join(torch.cat(pooled(self.pools, x, masks), 1)), here)
        if not self.keep_attention:
            return found
        maps = self._maps(normed, masks) | pooling_maps(self.columns, self.pools, x, masks)
        return replace(found, attention=maps)

    def _maps(self, normed: list[Tensor], masks: list[Tensor]) -> dict[str, Tensor]:
        maps = {}
        for (n, m), layer in zip(self.pairs, self.reads):
            of_n, of_m = layer.weights(normed[n], normed[m], masks[m], masks[n])
            one, other = self.columns[n], self.columns[m]
            maps[f"{one}→{other}"] = of_n.mean(1).masked_fill(~masks[n][..., None], 0.0)
            maps[f"{other}→{one}"] = of_m.mean(1).masked_fill(~masks[m][..., None], 0.0)
        return maps


class Bottleneck(TokenFusion):
    """Columns attend to themselves and to R bottleneck tokens, through which all passes that one learns of another.

        layer:  [cls_n, tokens_n, z] ──► AttentionBlock of column n ──► cls_n, tokens_n, z_n
                z = mean of z_n over the columns present
        end:    fused = mean of norm(cls_n) over the columns present

    Nagrani et al. 2021 (arXiv:2107.00135, section 3.2; section 3.4: the logits of the columns' CLS tokens are averaged,
    which is to average the tokens before a linear head). Attention costs Σ (T_n + R)² instead of (Σ T_n)².

    bottlenecks: R, 4 in the paper; layers: at least 2, since what one collects is read in the next

    attention: "fused→image": of the last layer, what cls of that column takes of it, times its share of the mean;
               "image→bottleneck" of the last layer and "bottleneck→image" of the one before; "text→image": the
               product of both, what reaches a token of text through the bottleneck.
    """

    def __init__(
        self,
        columns: Sequence[str],
        width: int,
        dropout: float = 0.0,
        heads: int = 4,
        layers: int = 2,
        bottlenecks: int = 4,
    ) -> None:
        super().__init__(columns, width)
        at_least_layers(layers, 2)
        if bottlenecks < 1:
            raise ValueError(f"bottlenecks: got {bottlenecks}; expected at least 1 token")
        N = len(self.columns)
        self.starts = nn.Parameter(BLANK * torch.randn(N, 1, 1, width))
        self.bottlenecks = nn.Parameter(BLANK * torch.randn(1, bottlenecks, width))
        self.blocks: Any = nn.ModuleList(blocks(width, heads, dropout, N) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Mapping[str, Features], present: Mapping[str, Tensor]) -> Fused:
        tokens, masks, here = self.real(features, present)
        B, R = len(here), self.bottlenecks.shape[1]
        z = self.bottlenecks.expand(B, -1, -1)
        open_ = here.new_ones(B, R)
        seen = [torch.cat([here[:, n, None], mask, open_], 1) for n, mask in enumerate(masks)]
        x = [torch.cat([start.expand(B, -1, -1), part], 1) for start, part in zip(self.starts, tokens)]
        shares = here / here.sum(1, keepdim=True).clamp(min=1)  # [B, N]: of a mean over the columns present
        before: list[Tensor] = []
        for layer in self.blocks[:-1]:
            both = [torch.cat([part, z], 1) for part in x]
            if self.keep_attention:
                before = [block.weights(y, mask=m).mean(1) for block, y, m in zip(layer, both, seen)]
            both = [block(y, mask=m) for block, y, m in zip(layer, both, seen)]
            x = [y[:, :-R] for y in both]
            of = torch.stack([y[:, -R:] for y in both], 1)  # [B, N, R, W]: what each column makes of them
            z = (shares[..., None, None] * of).sum(1)
        both = [torch.cat([part, z], 1) for part in x]
        ends = [block(y[:, :1], y, m)[:, 0] for block, y, m in zip(self.blocks[-1], both, seen)]
        fused = (shares[..., None] * self.norm(torch.stack(ends, 1))).sum(1)
        found = joined(fused, here)
        if not self.keep_attention:
            return found
        last = [block.weights(y, mask=m).mean(1) for block, y, m in zip(self.blocks[-1], both, seen)]
        return replace(found, attention=self._maps(before, last, masks, shares))

    def _maps(
        self, before: list[Tensor], last: list[Tensor], masks: list[Tensor], shares: Tensor
    ) -> dict[str, Tensor]:
        R = self.bottlenecks.shape[1]
        share = [part[:, None, None] for part in shares.unbind(1)]
        to = [w[:, 1:-R, -R:].masked_fill(~mask[..., None], 0.0) for w, mask in zip(last, masks)]  # [B, T, R]
        of = [w[:, -R:, 1:-R] for w in before]  # [B, R, T]
        maps = {}
        for n, one in enumerate(self.columns):
            maps[f"fused→{one}"] = share[n] * last[n][:, :1, 1:-R]
            maps[f"{one}→bottleneck"], maps[f"bottleneck→{one}"] = to[n], of[n]
            maps |= {f"{one}→{o}": to[n] @ (share[m] * of[m]) for m, o in enumerate(self.columns) if m != n}
        return maps


class HierarchicalAttention(TokenFusion):
    """Tokens are pooled to their column, columns to one vector, both by attention.

        tokens_n ──► AttentionPooling of column n ──(+ e_n)──► v_n
        v_1 … v_N ──► AttentionPooling ──► linear ──► GELU ──► dropout ──► linear ──► fused

    The hierarchy of Yang et al. 2016 (words, sentences) with columns for sentences, as `layers.HierarchicalAttention`;
    each column asks its tokens a question of its own.

    gates:     weights of the columns, which sum to 1
    attention: "fused→image", …: a token's weight in its column times the column's; all of a row sum to 1
    """

    def __init__(self, columns: Sequence[str], width: int, dropout: float = 0.0) -> None:
        super().__init__(columns, width)
        self.kinds = nn.Parameter(BLANK * torch.randn(len(self.columns), width))
        self.pools = pools(width, len(self.columns))
        self.over = AttentionPooling(width)
        self.join = two_layers(width, width, dropout)

    def forward(self, features: Mapping[str, Features], present: Mapping[str, Tensor]) -> Fused:
        tokens, masks, here = self.real(features, present)
        vectors = torch.stack(pooled(self.pools, tokens, masks), 1) + self.kinds  # [B, N, W]
        gates = self.over.weights(vectors, here)[:, 0]  # [B, 1, N]
        found = joined(self.join((gates @ vectors)[:, 0]), here, gates[:, 0])
        if not self.keep_attention:
            return found
        maps = pooling_maps(self.columns, self.pools, tokens, masks)
        shares = gates.unbind(2)
        return replace(
            found, attention={name: share[..., None] * m for share, (name, m) in zip(shares, maps.items())}
        )


def blocks(width: int, heads: int, dropout: float, count: int) -> Any:
    """ModuleList of so many layers."""
    return nn.ModuleList(AttentionBlock(width, heads, dropout=dropout) for _ in range(count))


def pools(width: int, columns: int) -> Any:
    """ModuleList, one `AttentionPooling` a column."""
    return nn.ModuleList(AttentionPooling(width) for _ in range(columns))


def pooled(pools: Any, tokens: Sequence[Tensor], masks: Sequence[Tensor]) -> list[Tensor]:
    """By column float[B, W], zeros where it is absent."""
    return [pool(x, mask) for pool, x, mask in zip(pools, tokens, masks)]


def pooling_maps(
    columns: Sequence[str], pools: Any, tokens: Sequence[Tensor], masks: Sequence[Tensor]
) -> dict[str, Tensor]:
    """{"fused→image": float[B, 1, T], …}: the weights by which `pooled` pools."""
    return {
        f"fused→{column}": pool.weights(x, mask).mean(1)
        for column, pool, x, mask in zip(columns, pools, tokens, masks)
    }


def at_least_layers(got: int, least: int) -> None:
    if got < least:
        raise ValueError(f"layers: got {got}; expected at least {least}")
