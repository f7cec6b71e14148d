"""The `openai` package, unchanged, against a live server: what it gets is what the facade gives."""

import base64

import numpy as np
import openai
import pytest
from live import live
from tiny_served import png, wav

from sensorium.media import Source
from sensorium.serving.api import create_app
from sensorium.serving.keys import hashed
from sensorium.serving.settings import Settings

URI = "data:image/png;base64," + base64.b64encode(png("red")).decode()
ASKED = [
    {"role": "system", "content": "be brief"},
    {
        "role": "user",
        "content": [{"type": "image_url", "image_url": {"url": URI}}, {"type": "text", "text": "what?"}],
    },
]
SAME = [
    {"role": "system", "content": "be brief"},
    {
        "role": "user",
        "content": [
            {"type": "image", "image": Source("image", data=png("red"))},
            {"type": "text", "text": "what?"},
        ],
    },
]


@pytest.fixture(scope="module")
def address(made, tmp_path_factory):
    settings = Settings(page=False, choices=3)
    with live(create_app(made.served(tmp_path_factory.mktemp("live") / "squares", settings), settings)) as at:
        yield at


@pytest.fixture(scope="module")
def client(address):
    return openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)


def ask(client, **options):
    return client.chat.completions.create(model="talker", messages=ASKED, **{"max_tokens": 16} | options)


def test_models_are_listed_and_found(client):
    assert [model.id for model in client.models.list()] == ["talker", "colours", "moods"]
    assert client.models.retrieve("moods").tasks == {"mood": ["sad", "glad"], "things": ["cat", "dog"]}
    with pytest.raises(openai.NotFoundError, match="there is talker, colours, moods") as refused:
        client.models.retrieve("gpt")
    assert refused.value.code == "model_not_found"


def test_an_answer_is_the_assistants_and_its_tokens_are_counted(client, made):
    answer = ask(client)
    assert answer.choices[0].message.content == made.assistant.chat(SAME, max_tokens=16) != ""
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.prompt_tokens == len(made.assistant.prompt(SAME))
    assert answer.usage.completion_tokens == 16
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 16


def test_the_pieces_of_a_stream_are_the_answer(client):
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    plain = ask(client)
    assert said == plain.choices[0].message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "length"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.model_dump() == plain.usage.model_dump()
    assert len({chunk.id for chunk in chunks}) == 1


def test_stop_strings_end_an_answer_and_are_no_part_of_it(client):
    whole = ask(client).choices[0].message.content
    stop = whole[3]
    cut = ask(client, stop=[stop])
    assert cut.choices[0].finish_reason == "stop"
    assert cut.choices[0].message.content == whole[: whole.index(stop)].strip()
    streamed = ask(client, stop=stop, stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in streamed) == cut.choices[0].message.content


def test_several_answers_are_drawn_each_with_a_seed_of_its_own(client):
    drawing = {"n": 2, "temperature": 1.5, "seed": 7}
    two = ask(client, **drawing)
    first, second = (choice.message.content for choice in two.choices)
    assert first != second
    assert [first, second] == [
        ask(client, temperature=1.5, seed=seed).choices[0].message.content for seed in (7, 8)
    ]
    pieces = {0: "", 1: ""}
    for chunk in ask(client, stream=True, **drawing):
        pieces[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert pieces == {0: first, 1: second}
    assert two.usage.prompt_tokens == ask(client).usage.prompt_tokens


def test_an_answer_can_be_sent_back_as_it_came(client):
    message = ask(client).choices[0].message
    went_on = client.chat.completions.create(
        model="talker", messages=[*ASKED, message, {"role": "user", "content": "and?"}], max_tokens=4
    )
    assert went_on.usage.completion_tokens == 4


def test_embeddings_are_the_spaces_in_both_formats(client, made):
    texts = ["a red fish", "blue", "grey and green"]
    right = made.space.embed("text", texts)
    packed = client.embeddings.create(model="colours", input=texts)
    assert np.array_equal(np.array([e.embedding for e in packed.data], np.float32), right)
    plain = client.embeddings.create(model="colours", input=texts, encoding_format="float", dimensions=8)
    assert np.allclose([e.embedding for e in plain.data], right, atol=1e-7)
    [one] = client.embeddings.create(model="colours", input="blue").data
    assert np.allclose(one.embedding, right[1], atol=1e-6)


def test_words_pictures_and_sounds_are_embedded_in_one_request(client, made):
    sound = base64.b64encode(wav()).decode()
    mixed = [
        {"image": URI},
        "red",
        {"audio": f"data:audio/wav;base64,{sound}"},
        {"text": "blue"},
        {"type": "image_url", "image_url": {"url": URI}},
    ]
    found = [e.embedding for e in client.embeddings.create(model="colours", input=mixed).data]
    picture = made.space.embed("image", [Source("image", data=png("red"))])[0]
    words = made.space.embed("text", ["red", "blue"])
    heard = made.space.embed("audio", [Source("audio", data=wav())])[0]
    assert np.allclose(found, [picture, words[0], heard, words[1], picture], atol=1e-6)


def test_recordings_are_transcribed(client, made):
    right = made.assistant.transcribe(Source("audio", data=wav()), max_tokens=1024)
    heard = client.audio.transcriptions.create(model="talker", file=("a.wav", wav()))
    assert heard.text == right
    as_text = client.audio.transcriptions.create(
        model="talker", file=("a.wav", wav()), response_format="text"
    )
    assert as_text == right + "\n"


def test_what_is_asked_wrongly_is_a_bad_request_that_says_what_is_right(client):
    with pytest.raises(openai.BadRequestError, match="temperature: Input should be less than or equal to 2"):
        ask(client, temperature=3)
    with pytest.raises(openai.BadRequestError, match="tools: is not supported here"):
        ask(client, tools=[{"type": "function", "function": {"name": "f"}}])
    with pytest.raises(
        openai.BadRequestError, match=r"unrecognized .* 'temprature'.*Did you mean 'temperature'"
    ):
        ask(client, extra_body={"temprature": 1})
    with pytest.raises(openai.BadRequestError, match="n: got 4; at most 3"):
        ask(client, n=4)
    with pytest.raises(openai.BadRequestError, match="dimensions: got 5; the vectors of colours have 8"):
        client.embeddings.create(model="colours", input="x", dimensions=5)
    with pytest.raises(openai.BadRequestError, match="token ids") as refused:
        client.embeddings.create(model="colours", input=[1, 2])
    assert refused.value.param == "input"
    with pytest.raises(openai.NotFoundError, match="those that do: talker"):
        client.audio.transcriptions.create(model="whisper-1", file=("a.wav", wav()))
    with pytest.raises(openai.NotFoundError, match="which is no language model"):
        client.chat.completions.create(model="colours", messages=ASKED)
    with pytest.raises(openai.APIStatusError, match="expected audio") as wrong:
        client.audio.transcriptions.create(model="talker", file=("a.wav", png("red")))
    assert wrong.value.status_code == 415


def test_options_that_change_nothing_are_taken(client):
    plain = ask(client).choices[0].message.content
    neutral = {"user": "me", "frequency_penalty": 0, "response_format": {"type": "text"}, "tools": []}
    assert ask(client, metadata={"a": "b"}, **neutral).choices[0].message.content == plain


def test_keys_and_full_queues_are_errors_of_their_own(made, tmp_path):
    settings = Settings(page=False, key_hashes=frozenset({hashed("right")}), queue=1, batch=1)
    with live(create_app(made.served(tmp_path / "squares", settings), settings)) as at:
        wrong = openai.OpenAI(base_url=f"{at}/v1", api_key="wrong", max_retries=0)
        with pytest.raises(openai.AuthenticationError, match="does not know"):
            wrong.models.list()
        right = openai.OpenAI(base_url=f"{at}/v1", api_key="right", max_retries=0)
        assert len(right.models.list().data) == 3
        with pytest.raises(openai.RateLimitError, match="come again in 1 s") as full:
            ask(right, n=8)
        assert full.value.response.headers["retry-after"] == "1"
