"""Questions about a scene -> conversations in the format of every chat: media parts, the question, the answer.

[Question], media -> [[{"role": "user", "content": [parts]}, {"role": "assistant", "content": answer}]]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sensorium.data.scenes.questions import Question
from sensorium.media import MODALITIES, Media


def as_conversations(
    questions: Sequence[Question], media: Mapping[str, Media] | None = None
) -> list[list[dict[str, Any]]]:
    """One conversation of two messages a question.

    media: modality -> what the user shows before the question, in this order, for example
           {"image": stream.picture(scene), "state": state(scene)}; without any, the questions are asked blind

    All conversations hold the same media objects, so that what comes before the questions can be shared. Raises
    ValueError for a modality that is none.
    """
    parts = []
    for modality, shown in (media or {}).items():
        if modality not in MODALITIES or modality == "text":
            expected = ", ".join(name for name in MODALITIES if name != "text")
            raise ValueError(f"media of a conversation: got {modality!r}; expected any of {expected}")
        parts.append({"type": modality, modality: shown})
    return [
        [
            {"role": "user", "content": [*parts, {"type": "text", "text": question.text}]},
            {"role": "assistant", "content": question.answer},
        ]
        for question in questions
    ]
