"""The openai package's client on /v1/responses: streams, structured answers, and a tool over several turns."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai import BadRequestError, NotFoundError, OpenAI
from pydantic import BaseModel, Field

from tests.server.conftest import Running
from tests.server.test_responses import CAPITAL, WEATHER


class Answer(BaseModel):
    capital: str = Field(max_length=20)
    is_large: bool


@pytest.fixture
def client(server: Running) -> OpenAI:
    return server.openai()


def weather_of(arguments: str) -> str:
    return json.dumps({"location": json.loads(arguments)["location"], "temperature": 7, "unit": "celsius"})


def test_a_stream_gives_what_a_whole_answer_has(client: OpenAI) -> None:
    whole = client.responses.create(model="nano", input=CAPITAL)
    with client.responses.stream(model="nano", input=CAPITAL) as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert text == final.output_text == whole.output_text == "The capital of France is Paris."
    assert final.status == "completed" and final.usage is not None


def test_a_structured_answer_is_parsed(client: OpenAI) -> None:
    for _ in range(2):
        parsed = client.responses.parse(model="nano", input=CAPITAL, text_format=Answer, max_output_tokens=400)
        assert isinstance(parsed.output_parsed, Answer)
    with client.responses.stream(model="nano", input=CAPITAL, text_format=Answer, max_output_tokens=400) as stream:
        assert stream.get_final_response().output_parsed == parsed.output_parsed


@pytest.mark.parametrize("carries", ["previous_response_id", "everything", "sealed"])
def test_a_tool_is_called_over_several_turns(client: OpenAI, carries: str) -> None:
    history: list[Any] = []
    previous: str | None = None
    for city in ("Oslo", "Lima"):
        given: list[Any] = [{"role": "user", "content": f"What is the weather in {city}?"}]
        while True:
            history += given
            options: dict[str, Any] = {
                "previous_response_id": {"input": given, "previous_response_id": previous},
                "everything": {"input": history},
                "sealed": {"input": history, "store": False, "include": ["reasoning.encrypted_content"]},
            }[carries]
            response = client.responses.create(model="nano", tools=[WEATHER], **options)  # type: ignore[list-item]
            assert response.status == "completed"
            previous = response.id
            history += [_sent(item) for item in response.output]
            calls = [item for item in response.output if item.type == "function_call"]
            if not calls:
                break
            assert len(calls) == 1 and json.loads(calls[0].arguments)["location"] == city
            output = weather_of(calls[0].arguments)
            given = [{"type": "function_call_output", "call_id": calls[0].call_id, "output": output}]
        assert "7" in response.output_text and city in response.output_text
    assert len([item for item in history if item.get("type") == "function_call_output"]) == 2


def _sent(item: Any) -> dict[str, Any]:
    """An item as a client that keeps nothing of the server's sends it again."""
    sent: dict[str, Any] = item.model_dump(exclude_none=True, exclude={"id", "status"})
    if item.type == "reasoning" and item.encrypted_content:
        del sent["content"]
    return sent


def test_what_is_stored_is_managed(client: OpenAI) -> None:
    made = client.responses.create(model="nano", input=CAPITAL)
    assert client.responses.retrieve(made.id) == made
    assert [item.type for item in client.responses.input_items.list(made.id)] == ["message"]
    assert made.usage is not None
    counted = client.responses.input_tokens.count(model="nano", input=CAPITAL)
    assert counted.input_tokens == made.usage.input_tokens
    client.responses.delete(made.id)
    with pytest.raises(NotFoundError):
        client.responses.retrieve(made.id)


def test_a_response_in_the_background_is_streamed_on_from_where_a_client_left_it(client: OpenAI) -> None:
    stream = client.responses.create(model="nano", input=CAPITAL, background=True, stream=True)
    begun = [next(stream) for _ in range(4)]
    stream.close()
    id_ = begun[0].response.id  # type: ignore[union-attr]
    rest = list(client.responses.retrieve(id_, stream=True, starting_after=begun[-1].sequence_number))
    numbers = [event.sequence_number for event in [*begun, *rest]]
    assert numbers == list(range(len(numbers))) and rest[-1].type == "response.completed"
    assert rest[-1].response == client.responses.retrieve(id_)


def test_errors_are_the_clients_own(client: OpenAI) -> None:
    with pytest.raises(BadRequestError) as refused:
        client.responses.create(model="nano", input="Hi", previous_response_id="resp_none")
    assert refused.value.code == "previous_response_not_found"
    with pytest.raises(NotFoundError) as unknown:
        client.responses.create(model="gpt-6", input="Hi")
    assert unknown.value.param == "model" and "harmonium serve gpt-6" in str(unknown.value)
