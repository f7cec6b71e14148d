"""The gated multimodal unit against the paper's two-column form."""

import torch
from three_columns import HERE, WIDTH, drawn, everywhere

from sensorium.fusion import Gated


def test_two_columns_are_the_papers_unit():
    """Arevalo et al. 2017, section 3: h = z ⊙ tanh(W_v x_v) + (1 - z) ⊙ tanh(W_t x_t), z = σ(W_z [x_v, x_t])."""
    torch.manual_seed(0)
    fusion, features = Gated(("image", "text"), WIDTH), drawn(("image", "text"))
    with torch.no_grad():
        fusion.gate.weight[WIDTH:] = 0
        fusion.gate.bias[WIDTH:] = 0
    fused = fusion(features, everywhere(features))
    x_v, x_t = features["image"].pooled, features["text"].pooled
    z = torch.sigmoid(fusion.gate(torch.cat([x_v, x_t], 1))[:, :WIDTH])
    h = z * fusion.layers["image"](x_v).tanh() + (1 - z) * fusion.layers["text"](x_t).tanh()
    torch.testing.assert_close(fused.branches["fused"].pooled, h)
    torch.testing.assert_close(fused.gates, torch.stack([z.mean(1), 1 - z.mean(1)], 1))


def test_a_column_alone_has_the_whole_gate():
    torch.manual_seed(0)
    fusion, features = Gated(("image", "text"), WIDTH), drawn(("image", "text"))
    fused = fusion(features, HERE)
    row = 1  # has the image, not the text
    torch.testing.assert_close(fused.gates[row], torch.tensor([1.0, 0.0]))
    expected = fusion.layers["image"](features["image"].pooled[row]).tanh()
    torch.testing.assert_close(fused.branches["fused"].pooled[row], expected)


def test_gates_differ_between_rows():
    torch.manual_seed(0)
    features = drawn(("image", "text"))
    gates = Gated(("image", "text"), WIDTH)(features, everywhere(features)).gates
    assert gates[:, 0].std() > 0.01
