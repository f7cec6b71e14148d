"""float[B, T, D] -> float[B, T, D]: equations that parts share.

attention.py           Attention: scaled dot-product, several heads; of itself, or of another stream (cross)
co_attention.py        CoAttention, ParallelCoAttention: two streams, both directions at once
pooled_attention.py    AttentionPooling, HierarchicalAttention: many positions -> one vector, in one step or two
modality_attention.py  ModalityAttention: one sequence, projections of each modality's own
gated_attention.py     GatedAttention, SampleGatedAttention: a learned gate on what is read
attention_block.py     AttentionBlock: attention and feed-forward with norms and residuals
transformer.py         FeedForward, SquaredReLU
adapter.py             Adapter, adapt: small trained layers between the layers of a frozen model
query_masks.py         what a Q-Former's queries and words may see of each other

One face: `layer(x, y, mask=mask)`, where y is what is read from (None: x itself, where a layer allows it), `mask`
bool[B, T] says which of its positions are real, and `x_mask`, where a layer needs it, which of x's are; and
`layer.weights(x, y, mask=mask)`, float[B, H, S, T]. What stands at a masked position may be any finite number.
"""

from sensorium.layers.adapter import Adapter, adapt
from sensorium.layers.attention import Attention, attend, attention_weights, masked_softmax
from sensorium.layers.attention_block import AttentionBlock
from sensorium.layers.co_attention import CoAttention, ParallelCoAttention
from sensorium.layers.gated_attention import GatedAttention, SampleGatedAttention
from sensorium.layers.modality_attention import ModalityAttention
from sensorium.layers.pooled_attention import AttentionPooling, HierarchicalAttention
from sensorium.layers.transformer import FeedForward, SquaredReLU

__all__ = [
    "Adapter",
    "Attention",
    "AttentionBlock",
    "AttentionPooling",
    "CoAttention",
    "FeedForward",
    "GatedAttention",
    "HierarchicalAttention",
    "ModalityAttention",
    "ParallelCoAttention",
    "SampleGatedAttention",
    "SquaredReLU",
    "adapt",
    "attend",
    "attention_weights",
    "masked_softmax",
]
