"""The openai package as people use it: tools over several turns, parsed answers, streams, state; sync and async."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import pytest
from openai import AsyncOpenAI, BadRequestError, NotFoundError, OpenAI, pydantic_function_tool
from openai.types.chat import ChatCompletionMessageParam
from openai.types.responses import ResponseFunctionToolCall
from pydantic import BaseModel

from tests.server.conftest import Running

WEATHER = "What is the weather like in Madrid?"
TOLD = {"Madrid": "sunny, 27 degrees", "Paris": "light rain, 16 degrees"}


class get_current_weather(BaseModel):
    """Get the current weather in a city."""

    city: str


class Place(BaseModel):
    country: str
    capital: str


@pytest.fixture(scope="module")
def client(server: Running) -> OpenAI:
    return server.openai()


def run(arguments: str) -> str:
    return TOLD[get_current_weather.model_validate_json(arguments).city]


def test_chat_with_a_tool_over_two_turns(client: OpenAI) -> None:
    tools = [pydantic_function_tool(get_current_weather)]
    messages: list[ChatCompletionMessageParam] = []
    answers = []
    for question in (WEATHER, "And in Paris?"):
        messages.append({"role": "user", "content": question})
        while True:
            completion = client.chat.completions.create(model="nano", messages=messages, tools=tools)
            message = completion.choices[0].message
            messages.append(cast(ChatCompletionMessageParam, message.to_dict()))
            if completion.choices[0].finish_reason != "tool_calls":
                break
            for call in message.tool_calls or ():
                assert call.type == "function"
                content = run(call.function.arguments)
                messages.append({"role": "tool", "tool_call_id": call.id, "content": content})
        answers.append(message.content or "")
    assert "27" in answers[0] and "16" in answers[1]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "assistant"] * 2


def test_parsed_answers(client: OpenAI) -> None:
    question = "What is the capital of Canada?"
    completion = client.chat.completions.parse(
        model="nano", messages=[{"role": "user", "content": question}], response_format=Place, max_tokens=200
    )
    chat = completion.choices[0].message.parsed
    response = client.responses.parse(model="nano", input=question, text_format=Place, max_output_tokens=200)
    assert isinstance(chat, Place) and response.output_parsed == chat
    completion = client.chat.completions.parse(
        model="nano",
        messages=[{"role": "user", "content": WEATHER}],
        tools=[pydantic_function_tool(get_current_weather)],
    )
    [call] = completion.choices[0].message.tool_calls or ()
    assert call.function.parsed_arguments == get_current_weather(city="Madrid")


def test_streams_end_in_what_the_whole_is(client: OpenAI) -> None:
    """The SDK's own accumulators, over both APIs."""
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": WEATHER}]
    tools = [pydantic_function_tool(get_current_weather)]
    kinds = []
    with client.chat.completions.stream(model="nano", messages=messages, tools=tools) as chat:
        kinds += [event.type for event in chat]
        made = chat.get_final_completion().choices[0]
    whole = client.chat.completions.create(model="nano", messages=messages, tools=tools).choices[0]
    assert "tool_calls.function.arguments.done" in kinds
    assert made.finish_reason == whole.finish_reason == "tool_calls"
    assert arguments(made.message) == arguments(whole.message) == [{"city": "Madrid"}]
    with client.responses.stream(model="nano", input="What is 12 + 30?") as stream:
        said = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    response = client.responses.create(model="nano", input="What is 12 + 30?")
    assert said == final.output_text == response.output_text == "12 + 30 = 42"
    assert [item.type for item in final.output] == [item.type for item in response.output] == ["reasoning", "message"]


def arguments(message: Any) -> list[Any]:
    return [json.loads(call.function.arguments) for call in message.tool_calls]


FUNCTION = {
    "type": "function",
    "name": "get_current_weather",
    "description": "Get the current weather in a city.",
    "parameters": get_current_weather.model_json_schema() | {"additionalProperties": False},
    "strict": True,
}


@pytest.mark.parametrize("way", ["previous_response_id", "replay", "sealed", "conversation"])
def test_responses_with_a_tool_over_two_turns(client: OpenAI, way: str) -> None:
    """However a client carries the state, the answers are the same."""
    kept: dict[str, Any] = {"model": "nano", "tools": [FUNCTION]}
    if way == "sealed":
        kept |= {"store": False, "include": ["reasoning.encrypted_content"]}
    elif way == "conversation":
        kept["conversation"] = client.conversations.create().id
    history: list[Any] = []
    answers, last = [], None
    for question in (WEATHER, "And in Paris?"):
        new: list[Any] = [{"role": "user", "content": question}]
        while True:
            history += new
            if way == "previous_response_id":
                last = client.responses.create(
                    input=new, previous_response_id=last.id if last is not None else None, **kept
                )
            else:
                last = client.responses.create(input=new if way == "conversation" else history, **kept)
            history += [item.to_dict() for item in last.output]
            calls = [item for item in last.output if isinstance(item, ResponseFunctionToolCall)]
            if not calls:
                break
            new = [
                {"type": "function_call_output", "call_id": call.call_id, "output": run(call.arguments)}
                for call in calls
            ]
        answers.append(last.output_text)
    assert "27" in answers[0] and "16" in answers[1]


def test_what_is_stored_is_there_until_it_is_deleted(client: OpenAI) -> None:
    made = client.responses.create(model="nano", input="What is 12 + 30?", metadata={"ticket": "7"})
    found = client.responses.retrieve(made.id)
    assert found.to_dict() == made.to_dict() and found.metadata == {"ticket": "7"}
    [item] = client.responses.input_items.list(made.id)
    assert item.to_dict()["content"] == [{"type": "input_text", "text": "What is 12 + 30?"}]
    client.responses.delete(made.id)
    with pytest.raises(NotFoundError):
        client.responses.retrieve(made.id)


def test_the_background_is_polled_and_cancelled(client: OpenAI) -> None:
    made = client.responses.create(model="nano", input="What is 12 + 30?", background=True)
    while made.status in ("queued", "in_progress"):
        made = client.responses.retrieve(made.id)
    assert (made.status, made.output_text) == ("completed", "12 + 30 = 42")
    running = client.responses.create(
        model="nano", input="Babble.", temperature=4, extra_body={"seed": 1}, background=True
    )
    cancelled = client.responses.cancel(running.id)
    assert cancelled.status == "cancelled" == client.responses.retrieve(running.id).status


def test_models_and_mistakes(client: OpenAI) -> None:
    [model] = client.models.list()
    assert client.models.retrieve(model.id).id == "nano"
    with pytest.raises(NotFoundError, match="nano") as caught:
        client.responses.create(model="gpt-4o", input="Hello")
    assert caught.value.code == "model_not_found"
    with pytest.raises(BadRequestError) as wrong:
        client.chat.completions.create(model="nano", messages=[{"role": "user", "content": "Hello"}], top_p=7)
    assert wrong.value.type == "invalid_request_error"


def test_many_at_once_over_asyncio(server: Running) -> None:
    async def ask() -> list[str | None]:
        async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client:

            async def one(n: int) -> str | None:
                stream = await client.chat.completions.create(
                    model="nano", messages=[{"role": "user", "content": f"What is {n} + {n}?"}], stream=True
                )
                return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

            return list(await asyncio.gather(*map(one, range(1, 9))))

    assert asyncio.run(ask()) == [f"{n} + {n} = {2 * n}" for n in range(1, 9)]
