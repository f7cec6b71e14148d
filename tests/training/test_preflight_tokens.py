"""A run over conversations shows what is learnt of them, and does not start when that is nothing."""

import chat
import pytest

from sensorium.data.conversation import Renderer
from sensorium.data.conversation_batch import ConversationCollator
from sensorium.data.quarantine import Quarantine
from sensorium.data.sample import Sample
from sensorium.media import Source
from sensorium.objectives.next_token import NextToken
from sensorium.training.adaptation import freeze
from sensorium.training.order import in_order
from sensorium.training.preflight import preflight
from sensorium.training.run import Run, TrainingError

LENGTHS = {"image": 4, "object": 4, "state": len}
FREEZE = ("backbone.*", "encoders.*", "projectors.object.*", "projectors.state.*")


def checked(folder, data, kind="llama", lengths=None, **options):
    tokenizer = chat.byte_level() if kind != "t5" else chat.byte_level(None, specials=False)
    model = chat.model(kind, tokenizer)
    template = options.pop("template", None)
    collate = options.pop("collate", None) or ConversationCollator(
        Renderer(tokenizer, lengths or LENGTHS, template), model.encoders, **options
    )
    run = Run(
        "talk", folder, "toy", model, data, collate, [NextToken()], len(data), steps=1, order=in_order,
        freeze=FREEZE,
    )  # fmt: skip
    freeze(model, run.freeze)
    return preflight(run)


def asked(number, answer="a fish"):
    picture = chat.picture(number)
    return Sample(
        f"s{number}",
        {"messages": chat.said([chat.image(picture), f"what is {number}?"], answer)},
        {"messages": "conversation"},
    )


def test_the_first_sample_is_shown_with_what_is_supervised(tmp_path):
    rows = [asked(1), asked(2, "a far longer answer, first in its row"), asked(3)]
    report = checked(tmp_path, range(3), samples=rows)
    assert report.after == (
        "<|im_start|>user\n⟨image ×4⟩what is 1?<|im_end|>\n<|im_start|>assistant\n«a fish<|im_end|>»"
    )
    before = report.before.split("\n")
    assert before[0] == "id: s1"
    assert before[1].startswith("user: ⟨image: uint8[4, 4, 3] ")
    assert before[1].endswith("'what is 1?'")
    assert before[2] == "assistant: 'a fish'"
    assert "3 conversations: s1, s2, s3" in report.batch
    assert "image: 3 media (prepared), 4 positions each" in report.batch


def test_shares_are_counted(tmp_path):
    report = checked(tmp_path, [asked(1)])
    # start u s e r line; picture; w h a t _ is _ 1 ?; end line; start a s s is t a n t line; a _ f is h
    read = 6 + 4 + 9 + 2 + 10 + 5  # the answer's end is predicted, and not read
    assert f"1 rows of {read} positions; 100.0% of them are real" in report.batch
    assert f"supervised: 6 tokens, {6 / read:.1%} of what is read" in report.batch


def test_an_encoder_decoder_is_shown_with_its_answer(tmp_path):
    report = checked(tmp_path, [asked(1)], kind="t5", start=0)
    assert report.after == "⟨image ×4⟩what is 1?\n«a fish<|endoftext|>»"


def test_a_run_in_which_nothing_is_supervised_is_refused(tmp_path):
    rows = [chat.said([chat.image(chat.picture(n)), "what?"]) for n in range(2)]
    with pytest.raises(
        TrainingError, match=r"nothing is supervised: no token of the first batch.*reads\n<.im_st"
    ):
        checked(tmp_path, rows)


def test_placeholders_that_do_not_fit_the_projector_are_refused(tmp_path):
    with pytest.raises(
        TrainingError, match="image: the first batch has 10 placeholders for 2 media of 8 tokens"
    ):
        checked(tmp_path, [asked(1), asked(2)], lengths=LENGTHS | {"image": 5})


def test_media_behind_the_last_answer_are_lost_and_refused(tmp_path):
    late = [*chat.said("hello", "he"), *chat.said([chat.image(chat.picture(5))])]
    with pytest.raises(TrainingError, match=r"media lost: .* 2 different image, 1 of them reach the model"):
        checked(tmp_path, [asked(1).columns["messages"], late])


def test_a_collator_that_drops_media_is_refused(tmp_path):
    tokenizer = chat.byte_level()
    inner = ConversationCollator(Renderer(tokenizer, LENGTHS), chat.model("llama", tokenizer).encoders)

    def text_only(rows):
        return inner([chat.said("what?", "a fish") for _ in rows])

    with pytest.raises(TrainingError, match=r"media lost: .* 2 different image, 0 of them"):
        checked(tmp_path, [asked(1), asked(2)], collate=text_only)


def test_a_first_sample_in_quarantine_is_passed_over(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"nothing")
    bad = Sample(
        "bad",
        {"messages": chat.said([chat.image(Source("image", tmp_path / "bad.png")), "what?"], "a fish")},
        {"messages": "conversation"},
    )
    quarantine = Quarantine(tmp_path / "bad.jsonl", limit_share=1)
    report = checked(tmp_path, [bad, asked(1)], quarantine=quarantine)
    assert "id: s1" in report.before
    assert "1 conversations, 1 left out for media in quarantine: s1" in report.batch


class Pictures:
    """A row is a number: a picture with three questions, made by the collator."""

    def __init__(self, inner):
        self.inner = inner

    def conversations(self, item):
        return [
            (f"{item}.{n}", chat.said([chat.image(chat.picture(item)), f"what is {n}?"], f"fish {n}"))
            for n in range(3)
        ]

    def __call__(self, items):
        pictures = {item: chat.picture(item) for item in items}
        return self.inner(
            [
                [{**turn, "content": [chat.image(pictures[item]), *turn["content"][1:]]}, answer]
                for item in items
                for _, (turn, answer) in self.conversations(item)
            ]
        )


def test_a_row_may_stand_for_several_conversations(tmp_path):
    tokenizer = chat.byte_level()
    inner = ConversationCollator(Renderer(tokenizer, LENGTHS), chat.model("llama", tokenizer).encoders)
    report = checked(tmp_path, range(2), collate=Pictures(inner))
    assert report.before.startswith("id: 0.0, and 2 more of the same row\nuser: ⟨image: uint8[4, 4, 3]")
    assert "⟨image ×4⟩what is 0?" in report.after
    assert report.after.endswith("«fish 0<|im_end|>»")
    assert "image: 2 media" in report.batch


def test_a_collator_may_keep_its_conversations_to_itself(tmp_path):
    tokenizer = chat.byte_level()
    inner = ConversationCollator(Renderer(tokenizer, LENGTHS), chat.model("llama", tokenizer).encoders)
    report = checked(tmp_path, range(2), collate=lambda items: Pictures(inner)(items))
    assert report.before == "0"
    assert report.after.endswith("«fish 0<|im_end|>»")
