"""OpenAI's Agents SDK on this server: tools, sessions, typed answers, streams and handoffs, over both APIs."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest
from agents import (
    Agent,
    Model,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    RunConfig,
    Runner,
    SQLiteSession,
    function_tool,
)
from openai import AsyncOpenAI
from pydantic import BaseModel

from tests.server.conftest import Running

WEATHER = "What is the weather like in Madrid?"
QUIET = RunConfig(tracing_disabled=True)
APIS = {"chat": OpenAIChatCompletionsModel, "responses": OpenAIResponsesModel}


@function_tool
def get_current_weather(city: str) -> str:
    """Get the current weather in a city.

    Args:
        city: The city's name, such as Madrid.
    """
    return {"Madrid": "sunny, 27 degrees", "Paris": "light rain, 16 degrees"}[city]


class Place(BaseModel):
    country: str
    capital: str


class Loop:
    """One event loop for a client's connections, which outlive a call."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    def __call__(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(coroutine)

    def close(self) -> None:
        self._runner.close()


@pytest.fixture(scope="module")
def wait() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture(scope="module", params=list(APIS))
def model(server: Running, wait: Loop, request: pytest.FixtureRequest) -> Iterator[Model]:
    client = AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0)
    yield APIS[request.param](model="nano", openai_client=client)
    wait(client.close())


def test_a_tool_over_two_turns(model: Model, wait: Loop) -> None:
    agent = Agent("Weather", tools=[get_current_weather], model=model)
    session = SQLiteSession("one")
    first = wait(Runner.run(agent, WEATHER, session=session, run_config=QUIET))
    second = wait(Runner.run(agent, "And in Paris?", session=session, run_config=QUIET))
    assert "27" in first.final_output and "16" in second.final_output
    kinds = [item.type for item in first.new_items if item.type != "reasoning_item"]
    assert kinds == ["tool_call_item", "tool_call_output_item", "message_output_item"]
    assert first.context_wrapper.usage.requests == 2 and first.context_wrapper.usage.output_tokens > 0


def test_a_typed_answer(model: Model, wait: Loop) -> None:
    agent = Agent("Places", output_type=Place, model=model, model_settings=ModelSettings(max_tokens=200))
    assert isinstance(wait(Runner.run(agent, "What is the capital of Canada?", run_config=QUIET)).final_output, Place)


def test_a_stream(model: Model, wait: Loop) -> None:
    async def stream() -> tuple[str, str, list[str]]:
        run = Runner.run_streamed(Agent("Weather", tools=[get_current_weather], model=model), WEATHER, run_config=QUIET)
        said, kinds = "", []
        async for event in run.stream_events():
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                said += event.data.delta
            elif event.type == "run_item_stream_event":
                kinds.append(event.name)
        return said, str(run.final_output), kinds

    said, final, kinds = wait(stream())
    assert said == final and "27" in final
    assert [kind for kind in kinds if kind != "reasoning_item_created"] == [
        "tool_called",
        "tool_output",
        "message_output_created",
    ]


def test_a_handoff(model: Model, wait: Loop) -> None:
    """The first agent has to hand over, and the second one answers."""
    adder = Agent("Adder", handoff_description="Adds numbers.", model=model)
    has_to = ModelSettings(tool_choice="transfer_to_adder", max_tokens=200)
    desk = Agent("Desk", handoffs=[adder], model=model, model_settings=has_to)
    run = wait(Runner.run(desk, "What is 12 + 30?", run_config=QUIET))
    assert run.last_agent.name == "Adder" and run.final_output
