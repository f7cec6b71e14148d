"""Whisper encoder weights in CTranslate2's file -> the folder that `WhisperEncoder` opens."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from safetensors.torch import save_file

# CTranslate2's DataType numbers (include/ctranslate2/types.h) that an unquantised file holds.
_TYPES: dict[int, np.dtype] = {
    0: np.dtype("<f4"),
    1: np.dtype("i1"),
    2: np.dtype("<i2"),
    3: np.dtype("<i4"),
    4: np.dtype("<f2"),
}
_VERSION = 6


def convert_ctranslate2(folder_or_file: Path, target: Path) -> None:
    """Read `model.bin` and write `config.json` and `model.safetensors` (float32, names as in `transformers`).

    Raises ValueError for a file of another version or model, and for quantised weights.
    """
    file = folder_or_file / "model.bin" if folder_or_file.is_dir() else folder_or_file
    arrays = {name: a for name, a in read_ctranslate2(file).items() if name.startswith("encoder/")}
    quantised = [name for name in arrays if name.endswith("_scale")]
    if quantised:
        raise ValueError(f"{file}: got quantised weights ({quantised[0]}); expected float16 or float32")
    state: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        inside, _, kind = name.removeprefix("encoder/").rpartition("/")
        kind = {"gamma": "weight", "beta": "bias"}.get(kind, kind)
        if name == "encoder/position_encodings/encodings":
            state["embed_positions.weight"] = array
        elif inside in ("conv1", "conv2", "layer_norm"):
            state[f"{inside}.{kind}"] = array
        elif inside.startswith("layer_"):
            layer, _, part = inside.removeprefix("layer_").partition("/")
            for ours, piece in _layer_part(part, kind, array):
                state[f"layers.{layer}.{ours}"] = piece
    mels, width, positions = (
        state["conv1.weight"].shape[1],
        len(state["conv1.bias"]),
        len(state["embed_positions.weight"]),
    )
    config = {
        "model_type": "whisper",
        "num_mel_bins": mels,
        "d_model": width,
        "encoder_layers": 1 + max(int(name.split(".")[1]) for name in state if name.startswith("layers.")),
        "encoder_attention_heads": int(arrays["encoder/num_heads"]),
        "encoder_ffn_dim": len(state["layers.0.fc1.bias"]),
        "max_source_positions": positions,
    }
    (target / "config.json").write_text(json.dumps(config, indent=2))
    tensors = {name: torch.from_numpy(array.astype(np.float32)) for name, array in state.items()}
    save_file(tensors, target / "model.safetensors")


def _layer_part(part: str, kind: str, array: np.ndarray) -> list[tuple[str, np.ndarray]]:
    whole = {
        "self_attention/layer_norm": "self_attn_layer_norm",
        "self_attention/linear_1": "self_attn.out_proj",
        "ffn/layer_norm": "final_layer_norm",
        "ffn/linear_0": "fc1",
        "ffn/linear_1": "fc2",
    }
    if part in whole:
        return [(f"{whole[part]}.{kind}", array)]
    assert part == "self_attention/linear_0", part
    thirds = zip(("q_proj", "k_proj", "v_proj"), np.split(array, 3), strict=True)
    # Whisper's keys have no bias; the fused projection stores zeros for it.
    return [
        (f"self_attn.{name}.{kind}", third) for name, third in thirds if (name, kind) != ("k_proj", "bias")
    ]


def read_ctranslate2(file: Path) -> dict[str, np.ndarray]:
    """A CTranslate2 `model.bin` of a Whisper model as named arrays."""
    with file.open("rb") as stream:
        version, model, _revision = _number(stream, "<I"), _string(stream), _number(stream, "<I")
        if (version, model) != (_VERSION, "WhisperSpec"):
            raise ValueError(
                f"{file}: got version {version} of {model!r}; expected version {_VERSION} of 'WhisperSpec'"
            )
        arrays = {}
        for _ in range(_number(stream, "<I")):
            name = _string(stream)
            shape = [_number(stream, "<I") for _ in range(_number(stream, "<B"))]
            kind, size = _number(stream, "<B"), _number(stream, "<I")
            if kind not in _TYPES or size != int(np.prod(shape)) * _TYPES[kind].itemsize:
                raise ValueError(
                    f"{file}: {name} has type {kind}, shape {shape} and {size} bytes, which do not fit"
                )
            arrays[name] = np.frombuffer(_exactly(stream, size), _TYPES[kind]).reshape(shape)
        return arrays


def _number(stream: BinaryIO, code: str) -> int:
    value: int = struct.unpack(code, _exactly(stream, struct.calcsize(code)))[0]
    return value


def _string(stream: BinaryIO) -> str:
    return _exactly(stream, _number(stream, "<H")).rstrip(b"\0").decode()


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise ValueError(f"{stream.name}: ends early ({len(data)} bytes where {size} were announced)")
    return data
