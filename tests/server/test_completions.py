"""/v1/completions and /tokenize: texts and ids go on as the model's own library has them go on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types import Completion

from tests.server.conftest import Running

FRANCE = "The capital of France is"


def ask(server: Running, **body: Any) -> dict[str, Any]:
    answer: dict[str, Any] = server.post("/completions", **{"max_tokens": 6, **body})
    Completion.model_validate(answer, strict=True)
    return answer


def streamed(server: Running, **body: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Each answer's pieces joined, and the usage."""
    body = {"max_tokens": 6, **body, "stream": True, "stream_options": {"include_usage": True}}
    lines = server.http.post("/v1/completions", json=body).text.split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    whole: dict[int, dict[str, Any]] = {}
    usage: dict[str, Any] = {}
    for chunk in (json.loads(line.removeprefix("data: ")) for line in lines[:-2]):
        usage = chunk["usage"] or usage
        ends = [choice["finish_reason"] or "length" for choice in chunk["choices"]]  # null until the end, as OpenAI's
        choices = [choice | {"finish_reason": end} for choice, end in zip(chunk["choices"], ends, strict=True)]
        Completion.model_validate(chunk | {"choices": choices}, strict=True)
        for choice in chunk["choices"]:
            one = whole.setdefault(choice["index"], {"text": "", "logprobs": None, "finish_reason": None})
            assert one["finish_reason"] is None, "the end is last"
            one["text"] += choice["text"]
            one["finish_reason"] = choice["finish_reason"]
            for name, values in (choice["logprobs"] or {}).items():
                one["logprobs"] = one["logprobs"] or {}
                one["logprobs"].setdefault(name, []).extend(values)
    return [{"index": index, **whole[index]} for index in sorted(whole)], usage


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": FRANCE},
        {"prompt": [FRANCE, "What is"], "n": 2, "echo": True, "temperature": 1, "seed": 3},
        {"prompt": FRANCE, "logprobs": 2},
        {"prompt": FRANCE, "stop": [".", "xyz"]},
        {"prompt": FRANCE, "max_tokens": 0, "echo": True},
        {"prompt": "<|start|>user<|message|>2 + 2 = ?<|end|><|start|>assistant", "parse_special": True},
        {"prompt": [5, 6, 7]},
        {"prompt": [[5, 6, 7], [8]]},
    ],
    ids=str,
)
def test_a_stream_is_the_whole_in_pieces(server: Running, body: dict[str, Any]) -> None:
    whole = ask(server, **body)
    choices, usage = streamed(server, **body)
    assert choices == whole["choices"]
    assert usage["completion_tokens"] == whole["usage"]["completion_tokens"]
    assert usage["prompt_tokens"] == whole["usage"]["prompt_tokens"]


def test_it_is_what_the_library_gives(server: Running, start: Any) -> None:
    vocabulary = server.llm.vocabulary
    [by_text], [by_ids] = (ask(server, prompt=prompt)["choices"] for prompt in (FRANCE, vocabulary.encode(FRANCE)))
    assert by_text == by_ids and by_text["text"].startswith(" Paris")
    several = ask(server, prompt=[FRANCE, "What is"], n=2, temperature=1, seed=3)["choices"]
    alone = [ask(server, prompt=p, temperature=1, seed=s)["choices"][0] for p in (FRANCE, "What is") for s in (3, 4)]
    assert [c["text"] for c in several] == [c["text"] for c in alone]


def test_stop_strings_and_limits_end_as_they_should(server: Running) -> None:
    [stopped] = ask(server, prompt=FRANCE, stop="ris")["choices"]
    assert (stopped["text"], stopped["finish_reason"]) == (" Pa", "stop")
    [cut] = ask(server, prompt=FRANCE, max_tokens=1)["choices"]
    assert cut["finish_reason"] == "length"
    [echoed] = ask(server, prompt=FRANCE, max_tokens=1, echo=True)["choices"]
    assert echoed["text"] == FRANCE + cut["text"]


def test_chances_are_of_the_tokens_of_the_text(server: Running) -> None:
    [choice] = ask(server, prompt=FRANCE, logprobs=3)["choices"]
    found = choice["logprobs"]
    assert "".join(found["tokens"]) == choice["text"]
    assert [choice["text"][at:].startswith(t) for at, t in zip(found["text_offset"], found["tokens"], strict=True)]
    assert all(len(top) == 3 for top in found["top_logprobs"])
    assert all(
        top[token] == chance <= 0
        for top, token, chance in zip(found["top_logprobs"], found["tokens"], found["token_logprobs"], strict=True)
    )


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"prompt": ""}, "The prompt is empty"),
        ({"prompt": []}, "The prompt is empty"),
        ({"prompt": [[1], []]}, "The prompt is empty"),
        ({"prompt": [10**30]}, "outside of this model's vocabulary"),
        ({"prompt": [-1]}, "outside of this model's vocabulary"),
        ({"prompt": ["x"] * 100, "n": 100}, "more than 2048 answers"),
        ({"prompt": "x", "echo": True, "logprobs": 1}, "logprobs are of generated tokens"),
        ({"prompt": "x", "suffix": "y"}, "does not fill in"),
        ({"prompt": "x", "stop": [""]}, "none of them empty"),
        ({"prompt": "x", "logit_bias": {"a": 1}}, "logit_bias"),
        ({"prompt": "x", "logit_bias": {"999999": 1}}, "logit_bias"),
        ({}, "prompt: Field required"),
    ],
    ids=str,
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_is_said(server: Running, body: dict[str, Any], says: str, stream: bool) -> None:
    answer = server.http.post("/v1/completions", json=body | {"stream": stream})
    assert answer.status_code == 400 and says in answer.json()["error"]["message"], answer.text


def test_tokens_there_and_back(server: Running) -> None:
    llm, messages = server.llm, [{"role": "user", "content": "héllo 👋"}]
    told = server.http.post("/tokenize", json={"messages": messages, "reasoning_effort": "high"}).json()
    assert told["tokens"] == llm.render(messages, effort="high") and told["count"] == len(told["tokens"])
    assert told["max_model_len"] == llm.context
    back = server.http.post("/detokenize", json={"tokens": told["tokens"]}).json()
    assert back == {"prompt": llm.render(messages, effort="high", as_text=True)}
    text = server.http.post("/tokenize", json={"prompt": "2 + 2", "return_token_strs": True}).json()
    assert "".join(text["token_strs"]) == "2 + 2" and text["tokens"] == llm.vocabulary.encode("2 + 2")
    for wrong in ({}, {"prompt": "x", "messages": messages}, {"prompt": "x", "model": "gpt-4"}):
        assert server.http.post("/tokenize", json=wrong).status_code in (400, 404)
