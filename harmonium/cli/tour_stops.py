"""What the tour shows besides the examples: commands as they are typed, and Python as it is written."""

from __future__ import annotations

import re
from dataclasses import dataclass

from harmonium.cli.examples import quote


@dataclass(frozen=True)
class Shell:
    """Commands of `harmonium`, each of which reads what the one before it printed; the first reads the typed lines."""

    title: str
    commands: tuple[tuple[str, ...], ...]
    typed: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """As a person would type it, whatever the shell."""
        lines = [" ".join(["harmonium", *map(_word, words)]) for words in self.commands]
        if len(self.typed) == 1:
            return f"$ echo {_word(self.typed[0])} | {' | '.join(lines)}"
        return "\n> ".join([f"$ {' | '.join(lines)}", *self.typed])


def _word(text: str) -> str:
    return text if re.fullmatch(r"[\w./:=-]+", text) else quote(text)


@dataclass(frozen=True)
class Python:
    """Lines that find `llm`, which is nano."""

    title: str
    code: str

    @property
    def shown(self) -> str:
        return self.code.strip()


@dataclass(frozen=True)
class Served:
    """A server that runs, lines of Python that find its `url`, and commands that name it as URL."""

    title: str
    command: tuple[str, ...]
    code: str
    asked: tuple[tuple[str, ...], ...] = ()

    @property
    def shown(self) -> str:
        lines = [" ".join(["$ harmonium", *map(_word, words)]) for words in self.asked]
        return "\n".join([f"$ harmonium {' '.join(self.command)} &", self.code.strip(), *lines])


URL = "localhost:8000"
"""Stands in commands for where a server runs."""


SHELL = (
    Shell("text from a pipe", (("--quiet",),), ("17 + 25",)),
    Shell("JSON for scripts", (("What is the capital of Peru?", "--json"),)),
    Shell("an answer in JSON", (("How many r's are in the word 'cherry'?", "--response-format", "json"),)),
    Shell(
        "reasoning that is closed after so many tokens",
        (("What is the capital of Chile?", "--effort", "high", "--reasoning-budget", "4"),),
    ),
    Shell("reasoning that goes round in circles", ((f"How many z's are in '{'z' * 33}'?", "--max-tokens", "280"),)),
    Shell("exact tokens, without weights", (("tokens", "What is the capital of Peru?", "--effort", "low"),)),
    Shell(
        "an answer's tokens, and what else was allowed",
        (("What is 2 + 2?", "--effort", "low", "--json"), ("tokens", "--ids", "-", "--mask")),
    ),
    Shell(
        "a conversation",
        (("chat", "--temperature", "0"),),
        (
            "How many e's are in the word 'cheese'?",
            "and in tree?",
            "/effort high",
            "and in bee?",
            "/tools demo",
            "What is the weather like in Paris?",
            "/lod talk.json",
            "/help",
        ),
    ),
    Shell(
        "many requests from a file",
        (("batch", "--quiet"),),
        (
            '{"custom_id": "1", "url": "/v1/chat/completions", "body": '
            '{"messages": [{"role": "user", "content": "What is 12 + 30?"}]}}',
        ),
    ),
    Shell("who may ask a server", (("keys",),)),
    Shell("what to ask", (("examples",),)),
    Shell("real shapes, random weights", (("Hello", "--dummy", "tiny", "--max-tokens", "8", "--seed", "1", "--json"),)),
    Shell("what a model takes, and which kernels run it", (("plan", "gpt-oss-20b"),)),
    Shell("what this machine lacks", (("doctor",),)),
    Shell("a mistake", (("--modle", "nano", "hello"),)),
    Shell("figures of this machine", (("bench",),)),
)

PYTHON = (
    Python(
        "one question",
        """
reply = llm.chat("How many r's are in the word 'strawberry'?")
print(reply.reasoning, reply.text, reply.usage, reply.finish_reason, sep="\\n")
""",
    ),
    Python(
        "a stream of events",
        """
for event in llm.stream("What is the capital of Norway?", effort="low", temperature=0):
    print(event)
""",
    ),
    Python(
        "a Python function as a tool",
        '''
def get_current_weather(city: str) -> str:
    """Get the current weather in a city."""
    return f"Sunny in {city}, 27 degrees."

reply = llm.chat("What is the weather like in Madrid?", tools=[get_current_weather], temperature=0)
for message in reply.messages:
    print(message.author.role, message.channel, message.recipient, repr(message.text))
''',
    ),
    Python(
        "a call that is handed out",
        '''
def get_price(product: str) -> str:
    """Get the price of a product."""

messages = [{"role": "user", "content": "What does a bicycle cost?"}]
reply = llm.chat(messages, tools=[get_price], run_tools=False)
[call] = reply.pending_calls
print(reply.finish_reason, call.name, call.arguments)
messages += [*reply.messages, call.answer("249 euros")]
print(llm.chat(messages, tools=[get_price], run_tools=False).text)
''',
    ),
    Python(
        "the builtin python, answered by the caller",
        """
messages = [{"role": "user", "content": "What day of the week is January 1, 3050?"}]
reply = llm.chat(messages, builtin_tools=["python"])
[call] = reply.pending_calls
print(call.name, call.arguments, sep="\\n")
messages += [*reply.messages, call.answer("Tuesday\\n")]
print(llm.chat(messages, builtin_tools=["python"]).text)
""",
    ),
    Python(
        "the builtin browser, answered by the caller",
        '''
messages = [{"role": "user", "content": "What is the highest temperature ever measured in Spain?"}]
reply = llm.chat(messages, builtin_tools=["browser"])
[call] = reply.pending_calls
print(call.name, call.arguments)
page = """[0] highest temperature Spain
**viewing lines [0 - 5] of 5**

L0: 
L1: URL: 
L2: # Search Results
L3: 
L4:   * 【0†Highest temperature of Spain†climate.example】 The highest temperature ever 
L5: measured in Spain is 47.6 °C."""
messages += [*reply.messages, call.answer(page)]
print(llm.chat(messages, builtin_tools=["browser"]).text)
''',  # noqa: W291 - as the tool writes it
    ),
    Python(
        "an answer that follows a JSON schema",
        """
schema = {
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
    "additionalProperties": False,
}
format = {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema}}
print(llm.chat("What is the capital of Canada?", response_format=format).text)
""",
    ),
    Python(
        "reasoning kept short, and out of circles",
        """
for budget in (None, 4):
    reply = llm.chat("What is the capital of Norway?", effort="high", reasoning_budget=budget, stop_loops=True)
    print(budget, reply.usage.reasoning, reply.is_reasoning_cut, reply.is_reasoning_loop, reply.text)
""",
    ),
    Python(
        "many conversations at once",
        """
for reply in llm.chat([f"What is {n} + {n}?" for n in (12, 34, 56)], temperature=0):
    print(reply.text)
""",
    ),
    Python(
        "the exact prompt",
        """
messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2 = ?"}]
print(llm.render(messages, date="2030-01-01", as_text=True))
""",
    ),
    Python(
        "token ids in, token ids out",
        """
from harmonium import SamplingParams

prompt = llm.render([{"role": "user", "content": "2 + 2 * 3 = ?"}], effort="low")
[ids] = llm.generate([prompt], SamplingParams(temperature=0, max_tokens=64))
print(ids)
print(llm.decode(ids))
print(llm.decode(ids, skip_special_tokens=True))
""",
    ),
    Python(
        "a text that goes on, and a prompt rendered elsewhere",
        """
print(repr(llm.complete("The capital of France is", max_tokens=2)))
prompt = "<|start|>user<|message|>2 + 2 = ?<|end|><|start|>assistant"
print(llm.complete(prompt, parse_special=True, max_tokens=64))
""",
    ),
    Python(
        "harmony by itself",
        """
from harmonium.harmony.convert import conversation
from harmonium.harmony.parse import parse
from harmonium.harmony.render import render

ids = render(conversation("2 + 2 = ?", effort="low"), llm.vocabulary)
[answer] = llm.generate([ids], temperature=0)
for message in parse(answer, llm.vocabulary).messages:
    print(message.role, message.channel, message.text)
""",
    ),
)

SERVED = (
    Served(
        "an endpoint that speaks OpenAI's API",
        ("serve", "--port", "0"),
        """
from openai import OpenAI

client = OpenAI(base_url=f"{url}/v1", api_key="any")
messages = [{"role": "user", "content": "What is 12 + 30?"}]
for chunk in client.chat.completions.create(model="nano", messages=messages, temperature=0, stream=True):
    print(chunk.choices[0].delta.content or "", end="")
print()
""",
        (("What is 30 + 12?", "--url", URL, "--quiet"), ("top", URL, "--once", "--interval", "0.1")),
    ),
)
