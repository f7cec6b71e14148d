import pytest

from sensorium.data.scenes import Placed, Scene, as_conversations, caption, describe, vocabulary

THINGS = {thing.en: thing for thing in vocabulary() + vocabulary(unseen=True)}


def scene_of(*things: tuple[str, int, int], ground: str = "green") -> Scene:
    """Things of 60 pixels with their upper left corner at x, y."""
    placed = tuple(Placed(THINGS[name], "noto", (x, y, x + 60, y + 60)) for name, x, y in things)
    return Scene("made by hand", 224, ground, placed)


@pytest.mark.parametrize(
    ("things", "english", "chinese"),
    [
        ([("owl", 0, 0)], "an owl on a green ground", "绿色背景上的猫头鹰"),
        (
            [("dog", 90, 10), ("cat", 0, 0)],
            "a cat left of a dog on a green ground",
            "绿色背景上，猫在狗的左边",
        ),
        ([("dog", 0, 90), ("cat", 30, 0)], "a cat above a dog on a green ground", "绿色背景上，猫在狗的上面"),
        ([("wolf", 0, 0), ("wolf", 90, 0)], "two wolves on a green ground", "绿色背景上的两个狼"),
        (
            [("dog", 150, 0), ("cat", 0, 0), ("dog", 75, 0), ("bus", 160, 90)],
            "a cat, two dogs and a bus on a green ground",
            "绿色背景上的猫、两个狗和公交车",
        ),
    ],
)
def test_captions(things, english, chinese):
    scene = scene_of(*things)
    assert caption(scene) == english
    assert caption(scene, "zh") == chinese


def test_a_description_is_asked_for_in_its_language():
    scene = scene_of(("owl", 0, 0), ground="red")
    assert (describe(scene).text, describe(scene).answer) == (
        "Describe the picture.",
        "an owl on a red ground",
    )
    assert describe(scene, "zh").text == "请描述这张图。"
    with pytest.raises(ValueError, match="got 'de'; expected one of en, zh"):
        describe(scene, "de")


def test_conversations_share_their_media(streams, scenes):
    stream, scene = streams["train"], scenes["train"][0]
    picture, questions = stream.picture(scene), stream.questions(scene)
    made = as_conversations(questions, {"image": picture})
    assert len(made) == len(questions)
    assert all(messages[0]["content"][0]["image"] is picture for messages in made)
    assert made[0] == [
        {
            "role": "user",
            "content": [{"type": "image", "image": picture}, {"type": "text", "text": questions[0].text}],
        },
        {"role": "assistant", "content": questions[0].answer},
    ]
    assert as_conversations(questions[:1])[0][0]["content"] == [{"type": "text", "text": questions[0].text}]
    with pytest.raises(ValueError, match="got 'picture'; expected any of image, audio, video, state"):
        as_conversations(questions, {"picture": picture})
