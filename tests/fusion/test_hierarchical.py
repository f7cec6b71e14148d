"""Early below, late above."""

import pytest
import torch
from three_columns import HERE, NAMES, TASKS, WIDTH, drawn

from sensorium.fusion import Concatenation, Hierarchical, Hybrid


def test_groups_are_concatenations_and_present_when_any_of_theirs_is():
    torch.manual_seed(0)
    fusion, features = Hierarchical(NAMES, WIDTH, groups=[["image", "audio"], ["text"]]), drawn()
    fused = fusion(features, HERE)
    assert fusion.branches == tuple(fused.branches) == ("image+audio", "text")
    below = Concatenation(("image", "audio"), WIDTH)
    below.load_state_dict(fusion.groups["image+audio"].state_dict())
    expected = below(features, HERE).branches["fused"].pooled
    assert torch.equal(fused.branches["image+audio"].pooled, expected)
    assert torch.equal(fused.present["image+audio"], HERE["image"] | HERE["audio"])
    assert torch.equal(fused.present["text"], HERE["text"])


def test_the_usual_groups():
    names = ["a", "b", "c", "d"]
    usual = [Hierarchical(names[:n], WIDTH).branches for n in (1, 2, 3, 4)]
    assert usual == [("a",), ("a", "b"), ("a+b", "c"), ("a+b", "c+d")]


@pytest.mark.parametrize(
    "groups", [[["image", "text"]], [["image", "text"], ["text", "audio"]], [[*NAMES], []], [["smell"]]]
)
def test_groups_that_are_no_split_are_refused(groups):
    with pytest.raises(ValueError, match=r"exactly one group, such as options=.*\['image', 'text'\]"):
        Hierarchical(NAMES, WIDTH, groups=groups)


def test_the_hybrid_averages_the_joined_and_the_single_predictions():
    torch.manual_seed(0)
    fusion = Hybrid(("image", "text"), WIDTH)
    assert fusion.branches == ("fused", "image", "text")
    with torch.no_grad():
        fusion.log_weights.copy_(torch.tensor([2.0, 1.0, 1.0]).log())
    p = torch.tensor([[[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]]])
    everything = torch.ones(1, 3, dtype=torch.bool)
    found = fusion.combine(p.log(), everything, TASKS[0])
    torch.testing.assert_close(found.exp(), torch.tensor([[0.325, 0.4, 0.275]]))
    fused = fusion(drawn(), HERE)
    assert torch.equal(fused.present["fused"], HERE["image"] | HERE["text"])
    assert torch.equal(fused.present["text"], HERE["text"])
    with pytest.raises(ValueError, match="rename the column"):
        Hybrid(("fused", "text"), WIDTH)
