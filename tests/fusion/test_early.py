"""Early fusion against its sum written out."""

import torch
from three_columns import HERE, NAMES, WIDTH, drawn, everywhere, pooled_of

from sensorium.fusion import Concatenation, Mean


def test_concatenation_puts_columns_end_to_end_in_order_with_zeros_for_the_absent():
    torch.manual_seed(0)
    fusion, features = Concatenation(NAMES, WIDTH), drawn()
    reversed_order = dict(
        reversed(features.items())
    )  # names say which is which, not their order in the batch
    found = fusion(reversed_order, HERE).branches["fused"].pooled
    first, last = fusion.layers[0], fusion.layers[3]
    for row in (0, 2):
        vector = torch.cat([features[name].pooled[row] * HERE[name][row] for name in NAMES])
        hidden = torch.nn.functional.gelu(first.weight @ vector + first.bias)
        torch.testing.assert_close(found[row], last.weight @ hidden + last.bias)


def test_the_mean_is_over_the_columns_present():
    fusion = Mean(NAMES, 2)
    fusion.layers = torch.nn.Identity()
    features = pooled_of([[1.0, 2.0], [9.0, 9.0]], [[3.0, 6.0], [4.0, 5.0]], [[5.0, 1.0], [2.0, 1.0]])
    here = everywhere(features) | {"image": torch.tensor([True, False])}
    fused = fusion(features, here)
    torch.testing.assert_close(fused.branches["fused"].pooled, torch.tensor([[3.0, 3.0], [3.0, 3.0]]))
    torch.testing.assert_close(fused.gates, torch.tensor([[1 / 3, 1 / 3, 1 / 3], [0, 0.5, 0.5]]))
