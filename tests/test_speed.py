import os
import subprocess
import sys

import pytest
import torch
import transformers as hf
from torch import nn

from sensorium import speed
from sensorium.encoders.image import EfficientNetLite


def _with_statistics(module: nn.Module) -> nn.Module:
    """Batch norms far from the identity."""
    torch.manual_seed(0)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 2)
            nn.init.uniform_(norm.bias, -1, 1)
            nn.init.uniform_(norm.running_mean, -1, 1)
            nn.init.uniform_(norm.running_var, 0.5, 2)
    return module.eval()


def _norms(module: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d) for part in module.modules())


def test_folding_changes_nothing_but_the_number_of_layers():
    encoder = _with_statistics(EfficientNetLite(size=64))
    inputs = {"pixels": torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)}
    with torch.no_grad():
        want = encoder(inputs)
        assert _norms(encoder) == 49
        assert _norms(speed.fold_batch_norm(encoder)) == 0
        got = encoder(inputs)
    largest = want.tokens.abs().max()
    assert (got.tokens - want.tokens).abs().max() < 1e-4 * largest  # the tolerance that speed.py states
    assert (got.pooled - want.pooled).abs().max() < 1e-4 * largest


def test_resnets_of_transformers_fold():
    config = hf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 2], layer_type="basic")
    model = _with_statistics(hf.ResNetModel(config))
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        want = model(pixels).last_hidden_state
        assert _norms(speed.fold_batch_norm(model)) == 0
        got = model(pixels).last_hidden_state
    assert (got - want).abs().max() < 1e-4 * want.abs().max()


class Unordered(nn.Module):
    """A norm that runs before the convolution that is registered before it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.last = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.conv(self.norm(x)))


def test_norms_of_uncertain_order_are_left_alone():
    module = _with_statistics(Unordered())
    assert _norms(speed.fold_batch_norm(module)) == 1


def test_a_module_in_training_is_not_folded():
    with pytest.raises(ValueError, match=r"call \.eval"):
        speed.fold_batch_norm(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)))


def test_an_inference_copy_leaves_its_original():
    original = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    fast = speed.inference_copy(original, torch.bfloat16)
    assert _norms(original) == 1
    assert original.training
    assert original[0].weight.requires_grad
    assert _norms(fast) == 0
    assert fast[0].weight.dtype == torch.bfloat16
    assert fast[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert not fast[0].weight.requires_grad


def test_rounding_keeps_the_sum_of_each_filter():
    torch.manual_seed(0)
    weight = torch.randn(40, 3, 5, 5) / 5
    plain, kept = weight.bfloat16().float(), speed.round_keeping_sums(weight, torch.bfloat16)
    assert torch.equal(kept, kept.bfloat16().float())
    assert (kept - weight).abs().max() <= 2 * (plain - weight).abs().max()
    error = ((filters - weight).sum((2, 3)).abs().mean() for filters in (plain, kept))
    assert next(error) > 20 * next(error)
    single = torch.randn(8, 4, 1, 1)  # of one weight there is nothing to keep
    assert torch.equal(speed.round_keeping_sums(single, torch.bfloat16), single.bfloat16().float())


def test_the_switch_turns_all_off(monkeypatch):
    monkeypatch.setenv("SENSORIUM_FAST", "0")
    assert not speed.enabled()
    assert speed.inference_dtype() == torch.float32
    assert speed.describe()["SENSORIUM_FAST"] == "off"


def test_bfloat16_is_chosen_by_the_instructions_of_the_cpu(monkeypatch):
    monkeypatch.setenv("SENSORIUM_FAST", "1")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    assert speed.inference_dtype() == torch.bfloat16
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert speed.inference_dtype() == torch.float32


PAGES = """
import resource, torch
from sensorium import speed
speed.apply(); speed.apply()
def faults(tensors):
    start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(tensors):
        torch.ones(40 << 20, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - start
faults(12)  # the heap grows to what it needs
print(faults(4), len(speed._applied))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is glibc's")
def test_big_tensors_reuse_their_pages():
    """Tensors of 40 MB in turn fault all their pages in anew, or none once the heap keeps them."""

    def run(fast: str) -> list[int]:
        environment = {**os.environ, "SENSORIUM_FAST": fast}
        command = [sys.executable, "-c", PAGES]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return [int(word) for word in done.stdout.split()]

    (kept, applied), (plain, none) = run("1"), run("0")
    assert (applied, none) == (2, 0)
    assert kept < plain / 10


def test_a_core_each_keeps_order_threads_and_errors():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        seen = list(speed.a_core_each(lambda n: (n, torch.get_num_threads()), range(20)))
        assert [n for n, _ in seen] == list(range(20))
        assert {inside for _, inside in seen} == {1}
        assert torch.get_num_threads() == 2
        with pytest.raises(ZeroDivisionError):
            list(speed.a_core_each(lambda n: 1 // (3 - n), range(9)))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
