"""Conversations that share a batch: each is answered as it would be alone, and who leaves takes only its own row."""

import asyncio

import numpy as np
import pytest
from tiny_served import picture, png, wav

from sensorium.data.conversation import ConversationError
from sensorium.facade.assistant import message
from sensorium.media import MediaError, Source
from sensorium.models.decoding import DecodingError
from sensorium.models.letter_counts import LetterCounts
from sensorium.models.row_decoding import RowDecoder
from sensorium.models.speller import Speller, Weights
from sensorium.objectives.spelling import Spelling, letter_vectors
from sensorium.serving import assistant as serving
from sensorium.serving.assistant import ServedAssistant, Written
from sensorium.serving.batching import Full, Late
from sensorium.serving.settings import Settings

HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture
def talker(made) -> ServedAssistant:
    return ServedAssistant("talker", made.assistant)


def conversations() -> list[tuple[list, dict]]:
    """Of different lengths, media and ways to be answered."""
    return [
        (HELLO, {"max_tokens": 9}),
        ([message("What is it?", image=picture("red"))], {"max_tokens": 30}),
        ([message("And now?", image=picture("blue"))], {"max_tokens": 25, "temperature": 1.2, "seed": 4}),
        ([{"role": "system", "content": "Be short"}, *HELLO], {"max_tokens": 40}),
        ([message("x" * 90)], {"max_tokens": 12, "temperature": 0.8, "top_k": 5, "seed": 7}),
        ([message("Hear?", audio=Source("audio", data=wav()))], {"max_tokens": 20}),
    ]


async def pieces_of(talker, messages, **how) -> list:
    return [piece async for piece in talker.stream(messages, **how)]


def test_each_is_answered_as_alone(talker, made):
    async def together() -> list[list]:
        return await asyncio.gather(*(pieces_of(talker, asked, **how) for asked, how in conversations()))

    for (asked, how), [*pieces, written] in zip(conversations(), asyncio.run(together()), strict=True):
        assert written.text == made.assistant.chat(asked, **how)
        assert "".join(pieces) == written.text
        assert written.prompt_tokens == len(made.assistant.prompt(asked))
        assert written.completion_tokens == how["max_tokens"] or written.finish == "stop"
    assert talker.lane.statistics.batches == 1


def test_who_comes_later_joins_the_batch(talker, made, monkeypatch):
    most = []

    def counted(self, *given):
        most.append(len(self.rows))
        return step(self, *given)

    step = RowDecoder.step
    monkeypatch.setattr(RowDecoder, "step", counted)

    async def one_after_another() -> list[Written]:
        long = talker.stream([message("x" * 30)], max_tokens=300)
        first = [await anext(long)]
        short = await talker.chat(HELLO, max_tokens=5)
        return [short, [*first, *[piece async for piece in long]][-1]]

    short, long = asyncio.run(one_after_another())
    assert short.text == made.assistant.chat(HELLO, max_tokens=5)
    assert long.text == made.assistant.chat([message("x" * 30)], max_tokens=300)
    assert max(most) == 2
    assert talker.lane.statistics.batches == 1


def test_a_stop_string_ends_one_row_only(talker, made):
    asked = [message("x" * 30)]
    whole = made.assistant.chat(asked, max_tokens=30)
    stop = whole[8:10]

    async def both() -> list[Written]:
        return await asyncio.gather(
            talker.chat(asked, max_tokens=30, stop=[stop]), talker.chat(asked, max_tokens=30)
        )

    cut, uncut = asyncio.run(both())
    assert cut.text == whole[: whole.index(stop)].strip()
    assert cut.finish == "stop"
    assert uncut.text == whole


def test_a_picture_is_read_once_for_all_who_ask_about_it(talker, made):
    encoder = made.assistant.model.encoders["image"]
    before = encoder.calls

    async def asked() -> None:
        await asyncio.gather(
            *(talker.chat([message(f"{n}?", image=picture("green", 5))], max_tokens=2) for n in range(4))
        )
        await talker.chat([message("Again?", image=picture("green", 5))], max_tokens=2)

    asyncio.run(asked())
    assert encoder.calls == before + 1


def test_media_that_were_not_used_for_longest_are_forgotten(talker, made, monkeypatch):
    colours = ["red", "green", "red", "blue"]  # green is the one not used for longest when blue comes

    async def asked() -> None:
        for colour in colours:
            await talker.chat([message("?", image=picture(colour, 8))], max_tokens=1)

    size = made.assistant.prompt([message("?", image=picture("red"))]).embeddings.element_size() * 6 * 32
    monkeypatch.setattr(serving, "REMEMBERED", 2 * size)
    asyncio.run(asked())
    assert [key for _, key in talker._seen] == [picture(colour, 8).key() for colour in ("red", "blue")]


def test_media_that_cannot_be_decoded_fail_their_own_request(talker, made):
    broken = Source("image", data=png("red")[:60])

    async def both() -> list:
        return await asyncio.gather(
            talker.chat([message("?", image=broken)]),
            talker.chat(HELLO, max_tokens=7),
            talker.chat([{"role": "assistant", "content": "I speak last"}]),
            talker.chat(HELLO, beams=3),
            talker.chat([message("x" * 500)]),
            return_exceptions=True,
        )

    bad, good, nobody, beams, long = asyncio.run(both())
    assert isinstance(bad, MediaError)
    assert good.text == made.assistant.chat(HELLO, max_tokens=7)
    assert isinstance(nobody, ConversationError)
    assert isinstance(beams, DecodingError)
    assert isinstance(long, ConversationError)
    with pytest.raises(ValueError, match="no option 'warmth'"):
        asyncio.run(talker.chat(HELLO, warmth=1))


def test_closing_a_stream_frees_its_row(talker):
    async def left() -> int:
        stream = talker.stream([message("x" * 30)], max_tokens=300)
        await anext(stream)
        await stream.aclose()
        await talker.lane.drain()
        return talker.lane.statistics.left

    assert asyncio.run(left()) == 1
    assert talker.lane.waiting == 0


def test_an_answer_that_takes_too_long_is_given_up(talker):
    async def late() -> None:
        with pytest.raises(Late):
            await talker.chat(HELLO, seconds=0.0)
        with pytest.raises(Late):
            await pieces_of(talker, [message("x" * 30)], max_tokens=350, seconds=0.02)
        await talker.lane.drain()

    asyncio.run(late())
    assert talker.lane.statistics.late >= 1


def test_more_than_the_queue_holds_are_refused(made):
    talker = ServedAssistant("talker", made.assistant, Settings(queue=2, batch=1))

    async def many() -> list:
        return await asyncio.gather(
            *(talker.chat(HELLO, max_tokens=3) for _ in range(9)), return_exceptions=True
        )

    answers = asyncio.run(many())
    refused = [one for one in answers if isinstance(one, Full)]
    assert 6 <= len(refused) <= 7  # two wait; one more where the thread had taken one already
    assert all(one.retry_after >= 1 for one in refused)
    assert len({one.text for one in answers if isinstance(one, Written)}) == 1


def test_rows_wait_for_room_in_the_cache(talker, made, monkeypatch):
    rows = []

    def counted(self, *given):
        rows.append(len(self.rows))
        return step(self, *given)

    step = RowDecoder.step
    monkeypatch.setattr(RowDecoder, "step", counted)
    monkeypatch.setattr(serving, "POSITIONS", 2 * (23 + 30))  # two conversations of HELLO and 30 tokens

    async def many() -> list[Written]:
        return await asyncio.gather(*(talker.chat(HELLO, max_tokens=30) for _ in range(5)))

    answers = asyncio.run(many())
    assert {one.text for one in answers} == {made.assistant.chat(HELLO, max_tokens=30)}
    assert max(rows) == 2


def test_a_recording_is_transcribed_with_the_sentence_trained_for_it(talker, made):
    sound = Source("audio", data=wav(300))
    written = asyncio.run(talker.transcribe(sound, max_tokens=15))
    assert written.text == made.assistant.transcribe(sound, max_tokens=15)


def test_many_who_come_and_go_get_what_they_would_get_alone(talker, made):
    """Forty conversations at random moments; a third of them leave in the middle."""
    random = np.random.default_rng(0)
    pictures = [picture(colour, 3) for colour in ("red", "green", "blue")]

    def conversation(number: int) -> tuple[list, dict]:
        media = {"image": pictures[number % 3]} if number % 2 else {}
        drawn = {"temperature": 1.0, "seed": number} if number % 5 == 0 else {}
        asked = message("y" * int(random.integers(1, 60)), **media)
        return [asked], {"max_tokens": int(random.integers(1, 50)), **drawn}

    asked = [conversation(number) for number in range(40)]
    leaves = [number % 3 == 0 for number in range(40)]
    moments = random.uniform(0, 0.3, 40)

    async def one(number: int) -> Written | None:
        await asyncio.sleep(moments[number])
        messages, how = asked[number]
        stream = talker.stream(messages, **how)
        async for piece in stream:
            if isinstance(piece, Written):
                return piece
            if leaves[number]:
                await stream.aclose()
                return None
        return None

    async def all_() -> list[Written | None]:
        found = await asyncio.gather(*(one(number) for number in range(40)))
        await talker.lane.drain()
        return found

    found = asyncio.run(all_())
    for (messages, how), written, left in zip(asked, found, leaves, strict=True):
        if written is None:
            assert left
        else:
            assert written.text == made.assistant.chat(messages, **how)
    assert sum(one is not None for one in found) >= 26


def test_media_that_an_encoder_cannot_take_fail_their_own_conversation(made):
    talker = ServedAssistant("talker", made.assistant, Settings(wait=0.2))  # all in one batch
    shown = [message("What is it?", image=picture("red"))]
    wrong = [message("Where?", state=np.zeros(3000, np.float32))]

    async def all_at_once():
        asked = [talker.chat(one, max_tokens=9) for one in (shown, wrong, HELLO)]
        return await asyncio.gather(*asked, return_exceptions=True)

    seen, failed, said = asyncio.run(all_at_once())
    assert isinstance(failed, Exception)
    assert seen.text == made.assistant.chat(shown, max_tokens=9)
    assert said.text == made.assistant.chat(HELLO, max_tokens=9)


def test_a_model_that_searches_words_does_so_between_answers(made, monkeypatch):
    model = made.assistant.model
    spelling = Spelling(letter_vectors(model.backbone, "abc"), scale=3.0)
    speller = Speller(spelling, "abc", LetterCounts(["ab", "cab"]), Weights(0.5, 0.1, 6.0), beam=8)
    monkeypatch.setattr(model, "speller", speller)
    monkeypatch.setattr(model, "prompts", {"transcribe": "Write."})
    talker, sound = ServedAssistant("talker", made.assistant), Source("audio", data=wav())

    async def all_at_once():
        said = talker.chat(HELLO, max_tokens=5)
        bad = talker.transcribe(Source("audio", data=b"RIFF but not really"))
        return await asyncio.gather(said, talker.transcribe(sound), bad, return_exceptions=True)

    said, found, bad = asyncio.run(all_at_once())
    assert said.text == made.assistant.chat(HELLO, max_tokens=5)
    assert found.text == made.assistant.transcribe(sound) != ""
    assert found.completion_tokens == len(model.backbone.tokenizer(found.text)["input_ids"])
    assert isinstance(bad, MediaError)
    with pytest.raises(ValueError, match="no option 'beem'"):
        asyncio.run(talker.transcribe(sound, beem=2))
