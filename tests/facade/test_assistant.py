"""Assistant and Chat: one answer by every route, caches that change nothing, failures that leave nothing."""

import numpy as np
import pytest
import torch
from small_model import model_of

from sensorium.data.conversation import ConversationError
from sensorium.facade import Assistant, prompt
from sensorium.media import Audio, MediaError
from sensorium.models.decoding import DecodingError

SHORT = {"max_tokens": 12}


def said(question: str, *pictures) -> list[dict]:
    parts = [{"type": "image", "image": str(path)} for path in pictures]
    return [{"role": "user", "content": [*parts, {"type": "text", "text": question}]}]


def test_ask_stream_chat_and_batch_give_one_answer(any_assistant, pictures):
    question, (a, b) = "what?", pictures
    whole = any_assistant.ask(question, image=[a, b], **SHORT)
    assert whole
    assert "".join(any_assistant.ask(question, image=[a, b], stream=True, **SHORT)).strip() == whole
    assert any_assistant.chat(said(question, a, b), **SHORT) == whole
    assert any_assistant.chat().say(question, image=[a, b], **SHORT) == whole
    others = [said("hm"), said(question, a, b), said("a longer question about one picture?", b)]
    answers = any_assistant.answers(others, batch_size=2, **SHORT)
    assert answers == [any_assistant.chat(messages, **SHORT) for messages in others]


def test_what_is_seen_and_where_decides_the_answer(any_assistant, pictures):
    a, b = pictures
    answers = {any_assistant.ask("what?", image=given, **SHORT) for given in (None, a, b, [a, b], [b, a])}
    assert len(answers) >= 4
    state = any_assistant.ask("what?", state=[5.0, -3.0], **SHORT)
    assert state == any_assistant.ask("what?", state=[[5.0, -3.0]], **SHORT)
    sound = Audio(np.linspace(-1, 1, 32, dtype=np.float32), 16_000)
    assert any_assistant.transcribe(sound, **SHORT) == any_assistant.ask(
        "Write down what is said.", audio=sound, **SHORT
    )


def test_the_models_engine_answers_as_the_model_itself(assistant, pictures):
    prompt = assistant.prompt(said("what?", *pictures))
    backbone = assistant.model.backbone
    ids = backbone.lm.generate(
        inputs_embeds=prompt.embeddings,
        attention_mask=torch.ones(1, len(prompt)),
        max_new_tokens=12,
        do_sample=False,
    )
    text = backbone.tokenizer.decode(ids[0], skip_special_tokens=True).strip()
    assert assistant.ask("what?", image=pictures, **SHORT) == text


def test_a_turn_reads_only_what_is_new_and_answers_as_afresh(any_assistant, pictures, monkeypatch):
    a, b = pictures
    encoder = any_assistant.model.encoders["image"]
    chat = any_assistant.chat(system="be brief", **SHORT)
    lengths = []
    original = type(any_assistant.engine).__call__

    def spy(self, embeddings, *rest, **options):
        lengths.append(embeddings.shape[1])
        return original(self, embeddings, *rest, **options)

    monkeypatch.setattr(type(any_assistant.engine), "__call__", spy)
    calls = encoder.calls
    turns = [("what?", a), ("and this, beside that?", b), ("sure?", None)]
    for turn, (question, picture) in enumerate(turns):
        before = list(chat.messages)
        lengths.clear()
        reply = chat.say(question, image=picture)
        if turn and any_assistant.engine.kind == "causal":
            new = len(f"<|end|><|start|>user\n{question}<|end|><|start|>assistant\n") + 6
            assert lengths[0] <= new  # with special tokens one position each, and a picture's six rows
            assert set(lengths[1:]) <= {1}
        assert encoder.calls - calls <= turn + 1
        fresh = any_assistant.chat([*before, *said(question, *([picture] if picture else []))], **SHORT)
        calls += len([m for m in before if m["role"] == "user"]) + (picture is not None)  # the fresh run's
        assert reply.strip() == fresh
    assert [m["role"] for m in chat.messages] == ["system", *["user", "assistant"] * 3]


def test_a_chat_encodes_a_picture_once(assistant, pictures):
    encoder = assistant.model.encoders["image"]
    chat, calls = assistant.chat(**SHORT), encoder.calls
    chat.say("one?", image=pictures[0])
    chat.say("two?", image=pictures[0])
    chat.say("three?", image=pictures[1])
    assert encoder.calls - calls == 2


def test_media_of_many_conversations_are_read_in_batches(assistant, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(prompt, "TOGETHER", 3)
    encoder, (one, two), shades = assistant.model.encoders["image"], pictures, []
    for shade in (10, 70, 200):
        shades.append(np.full((6, 6, 3), shade, np.uint8))
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG but not really")

    def about(*images) -> list:
        parts = [{"type": "image", "image": image} for image in images]
        return [{"role": "user", "content": [*parts, {"type": "text", "text": "what?"}]}]

    asked = [
        about(one),
        about(two, broken),
        about(one, shades[0]),
        about(shades[1]),
        about(shades[2], shades[2]),
    ]
    alone = [assistant.prompt(messages) for place, messages in enumerate(asked) if place != 1]
    seen, calls = {}, encoder.calls
    assistant.look(asked, seen)
    assert encoder.calls - calls == 2  # of 3 and of 2
    assert len(seen) == 5
    together = [assistant.prompt(messages, seen) for place, messages in enumerate(asked) if place != 1]
    assert encoder.calls - calls == 2
    for lone, shared in zip(alone, together, strict=True):
        assert lone.keys == shared.keys
        torch.testing.assert_close(lone.embeddings, shared.embeddings, atol=1e-6, rtol=1e-5)
    with pytest.raises(MediaError, match=r"broken\.png"):
        assistant.prompt(asked[1], seen)


def test_a_failed_turn_leaves_the_chat_as_it_was(any_assistant, pictures, tmp_path):
    chat, same = any_assistant.chat(**SHORT), any_assistant.chat(**SHORT)
    for one in (chat, same):
        one.say("what?", image=pictures[0])
    before = list(chat.messages)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG but not really")
    with pytest.raises(MediaError, match=r"broken\.png"):
        chat.say("and?", image=[pictures[1], broken])
    with pytest.raises(MediaError, match=r"none\.png"):
        chat.say("and?", image=tmp_path / "none.png")
    with pytest.raises(ConversationError, match="no encoder for video; it takes text, image, audio, state"):
        chat.say("and?", video="x.mp4")
    with pytest.raises(ConversationError, match="the question is empty"):
        chat.say("  ", image=pictures[1])
    with pytest.raises(ValueError, match=r"no option 'temprature'.*Did you mean 'temperature'"):
        chat.say("and?", temprature=1)
    assert chat.messages == before
    assert chat.say("and?", image=pictures[1]) == same.say("and?", image=pictures[1])


def test_an_engine_that_fails_midway_leaves_the_chat_as_it_was(assistant, monkeypatch):
    chat, same = assistant.chat(**SHORT), assistant.chat(**SHORT)
    for one in (chat, same):
        one.say("what?")
    before = list(chat.messages)
    layers = assistant.engine.layers

    def fails(rows):
        raise RuntimeError("in the second layer")

    with monkeypatch.context() as patch:
        patch.setattr(layers[1], "down", fails)
        with pytest.raises(RuntimeError, match="second layer"):
            chat.say("and?")
    assert chat.messages == before
    assert chat.say("and?") == same.say("and?")


def test_a_closed_stream_keeps_what_was_given_out(assistant):
    chat = assistant.chat(max_tokens=20)
    pieces = chat.say("what?", stream=True)
    given = next(pieces) + next(pieces)
    pieces.close()
    assert chat.messages[-1] == {"role": "assistant", "content": given.rstrip()}
    after = list(chat.messages)
    assert chat.say("go on") == assistant.chat([*after, *said("go on")], max_tokens=20)
    chat.clear()
    assert chat.messages == []


def test_more_media_than_the_context_holds_are_refused(assistant, pictures):
    with pytest.raises(ConversationError, match=r"of them for 80 media.*reads at most 399"):
        assistant.ask("what?", image=[pictures[0]] * 80)


def test_what_cannot_be_answered_is_refused(assistant):
    with pytest.raises(ConversationError, match="it is empty"):
        assistant.chat([])
    with pytest.raises(ConversationError, match="unknown role 'bot'"):
        assistant.chat([{"role": "bot", "content": "x"}])
    with pytest.raises(ConversationError, match="last message is the assistant's"):
        assistant.chat([*said("x"), {"role": "assistant", "content": "y"}])
    with pytest.raises(DecodingError, match="top_p=2"):
        assistant.ask("x", top_p=2)


def test_modalities_and_prompts_are_the_models(assistant, pictures):
    assert assistant.modalities == ("text", "image", "audio", "state")
    model = assistant.model
    model.prompts = {"caption": "name it"}
    try:
        own = Assistant(model, precision="fp32")
        assert own.caption(pictures[0], **SHORT) == assistant.ask("name it", image=pictures[0], **SHORT)
        assert own.prompts["transcribe"] == "Write down what is said."
    finally:
        del model.prompts


def test_beams_and_stop_strings_work_in_a_chat(assistant):
    plain = assistant.ask("what?", max_tokens=12)
    stop = plain[3:5]
    assert assistant.ask("what?", max_tokens=12, stop=[stop]) == plain[: plain.index(stop)].strip()
    beams = assistant.chat(beams=3, **SHORT)
    assert beams.say("what?").strip() == assistant.ask("what?", beams=3, **SHORT)
    assert beams.say("and?", beams=1).strip() == assistant.chat([*beams.messages[:2], *said("and?")], **SHORT)


def test_precision_is_for_llamas():
    with pytest.raises(ValueError, match="this language model is a 'gpt2'; leave it at 'auto'"):
        Assistant(model_of("gpt2"), precision="int4")
    with pytest.raises(ValueError, match="'int3'; expected one of auto, fp32"):
        Assistant(model_of("gpt2"), precision="int3")
