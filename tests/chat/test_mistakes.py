"""What people get wrong, and what a checkpoint or a machine may lack: one sentence each, and nothing is computed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harmonium import LLM, SamplingParams
from harmonium.chat.loading import Loaded, device_of, dtype_of, preferred_sampling
from harmonium.errors import BadCheckpoint, BadRequest, HarmoniumError, PromptTooLong, Unsupported
from harmonium.harmony.messages import Message
from harmonium.harmony.vocabulary import Vocabulary
from harmonium.model.dummy import Dummy
from harmonium.model.transformer import Transformer


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


MISTAKES: list[tuple[Callable[[LLM], object], str]] = [
    (lambda llm: llm.chat(""), "question is empty"),
    (lambda llm: llm.chat([]), "no messages"),
    (lambda llm: llm.chat(None), "not NoneType"),  # type: ignore[call-overload]
    (lambda llm: llm.chat({"role": "user", "content": "Hi"}), "not dict"),  # type: ignore[call-overload]
    (lambda llm: llm.chat([{"role": "user", "content": 5}]), "Message 0"),
    (lambda llm: llm.chat("Hi", temprature=1), "did you mean 'temperature'"),  # type: ignore[call-overload]
    (lambda llm: llm.chat("Hi", effort="hgih"), "did you mean 'high'"),
    (lambda llm: llm.chat(["Hi", "Ho"], effort="hgih"), "did you mean 'high'"),
    (lambda llm: llm.stream("Hi", effort="hgih"), "did you mean 'high'"),
    (lambda llm: llm.render("Hi", effort="hgih"), "did you mean 'high'"),
    (lambda llm: llm.chat(["Hi", "Ho"], builtin_tools=["pyhton"]), "no builtin tool"),
    (lambda llm: llm.chat("Hi", tools=add), "tools is a list"),  # type: ignore[call-overload]
    (lambda llm: llm.chat("Hi", tools=[add, add]), "Two tools are named 'add'"),
    (lambda llm: llm.chat("Hi", tools=[lambda: 1]), "instead of a lambda"),
    (lambda llm: llm.chat("Hi", max_tool_rounds=-1), "max_tool_rounds is -1"),
    (lambda llm: llm.chat("Hi", temperature=-1), "temperature is -1"),
    (lambda llm: llm.chat("Hi", temperature="warm"), "temperature is 'warm'; give a number"),  # type: ignore[call-overload]
    (lambda llm: llm.chat("Hi", stop=""), "stop is ''; give a string or a list"),
    (lambda llm: llm.chat("Hi", stop=["a", 5]), "none of them empty"),  # type: ignore[list-item]
    (lambda llm: llm.chat("Hi", stop=list("abcdefghijklmnopq")), "stop has 17 strings; give up to 16"),
    (lambda llm: llm.chat("Hi", logprobs=21), "logprobs is 21; give a whole number from 0 to 20"),
    (lambda llm: llm.chat("Hi", logprobs=True), "logprobs is True"),
    (lambda llm: llm.chat("Hi", logit_bias={"a": 1}), "logit_bias is {'a': 1}; give {id: value}"),
    (lambda llm: llm.chat("Hi", logit_bias={5.5: 1}), "logit_bias is {5.5: 1}; give {id: value}"),
    (lambda llm: llm.chat("Hi", logit_bias={5: "1"}), "logit_bias is {5: '1'}; give {id: value}"),  # type: ignore[dict-item]
    (lambda llm: llm.chat("Hi", identity=5), "identity is 5; give a text"),  # type: ignore[call-overload]
    (lambda llm: llm.chat("Hi", date=5), "date is 5; give a date or a text"),  # type: ignore[call-overload]
    (lambda llm: llm.chat("Hi", builtin_tools="python"), "builtin_tools is 'python'; give a list of names"),
    (lambda llm: llm.chat("Hi", builtin_tools=5), "builtin_tools is 5; give a list"),  # type: ignore[call-overload]
    (lambda llm: llm.chat("Hi", max_tool_rounds=True), "max_tool_rounds is True"),
    (lambda llm: llm.chat("Hi", logit_bias={512: 1}), "logit_bias has ids outside of this model's vocabulary"),
    (lambda llm: llm.chat("Hi", logit_bias={1: float("nan")}), "logit_bias of 1 is nan"),
    (lambda llm: llm.chat("Hi", frequency_penalty=101), "frequency_penalty is 101"),
    (lambda llm: llm.chat("Hi", n=0), "n is 0; give a whole number, 1 or more"),
    (lambda llm: llm.chat(["Hi", "Ho"], n=2), "n answers are to one conversation"),  # type: ignore[arg-type]
    (lambda llm: llm.generate([[1]], max_tokens="3"), "max_tokens is '3'; give a whole number"),  # type: ignore[arg-type]
    (lambda llm: llm.generate([[1]], {"top_k": 3}), r"params is {'top_k': 3}; give SamplingParams"),  # type: ignore[arg-type]
    (lambda llm: llm.complete("Hi", stop_ids=5), "stop_ids is 5; give a list of token ids"),  # type: ignore[call-overload]
    (lambda llm: llm.complete(""), "prompt is empty"),
    (lambda llm: llm.complete("Hi", effort="low"), "no option 'effort'"),  # type: ignore[call-overload]
    (lambda llm: llm.generate([[]]), "prompt is empty"),
    (lambda llm: llm.generate([1, 2]), r"Prompt 0: .* a list of them: \[ids\]"),  # type: ignore[list-item]
    (lambda llm: llm.generate([[1], [10_000]]), "Prompt 1: .* outside of this model's vocabulary"),
    (lambda llm: llm.generate(5), "prompts are a list, not int"),  # type: ignore[arg-type]
    (lambda llm: llm.complete(None), "prompts are a list, not NoneType"),  # type: ignore[call-overload]
    (lambda llm: llm.complete(["Hi", "", ""]), "Prompt 1: The prompt is empty"),
    (lambda llm: llm.complete(["Hi", 5]), "Prompt 1: Text was expected"),  # type: ignore[list-item]
    (lambda llm: llm.chat(["Hi", [{"role": "robot"}]]), "Conversation 1: Message 0: 'robot' is no role"),
    (
        lambda llm: llm.chat(["Hi", "Ho", [Message.tool("", "nameless")]]),
        "Conversation 2: .*needs the name of its tool",
    ),
    (lambda llm: llm.decode([1, 512]), "512, at 1, is no id of this model; they go from 0 to 511"),
    (lambda llm: llm.decode([-1]), "-1, at 0, is no id"),
    (lambda llm: llm.decode([[1, 2]]), "one list of whole numbers"),  # type: ignore[list-item]
    (lambda llm: llm.decode("12"), "one list of whole numbers"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("mistake", "says"), MISTAKES, ids=[says for _, says in MISTAKES])
def test_mistakes_are_explained(llm: LLM, mistake: Callable[[LLM], object], says: str) -> None:
    with pytest.raises(BadRequest, match=says):
        mistake(llm)


def test_a_prompt_past_the_context_says_the_numbers(llm: LLM) -> None:
    ids = llm.render("Hello")
    llm.chat("Hello", max_tokens=1)
    with pytest.raises(
        PromptTooLong,
        match=rf"{len(ids)} tokens and the answer may take 4096, but this model's maximum context length is 4096",
    ):
        llm.chat("Hello", max_tokens=4096)
    with pytest.raises(PromptTooLong):
        list(llm.stream("word " * 5000))


def test_one_prompt_that_cannot_be_is_named_before_any_other_begins(llm: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where the queue is too short for all, so that early ones would be computed before late ones are queued."""
    monkeypatch.setattr(llm.engine.scheduler, "queue_limit", 2)
    monkeypatch.setattr(llm.engine, "step", lambda: pytest.fail("something was computed"))
    ids = llm.render("Hello")
    with pytest.raises(PromptTooLong, match=r"^Prompt 7: The prompt has 5000 tokens"):
        llm.generate([*[ids] * 7, [0] * 5000, []])
    with pytest.raises(PromptTooLong, match=r"^Prompt 7: .* the answer may take 4090"):
        llm.complete([*["Hi"] * 7, "Hello there, how are you?"], max_tokens=4090)
    with pytest.raises(PromptTooLong, match=r"^Conversation 7: The prompt has"):
        llm.chat([*["Hi"] * 7, "word " * 5000])


def test_ids_without_a_token_are_shown_as_such(llm: LLM) -> None:
    """Rows of the head beyond the vocabulary: the model may produce them, so they can be decoded."""
    assert llm.vocabulary.size < 512 and llm.decode([511]) == "\ufffd"


@pytest.mark.parametrize(
    ("text", "params"),
    [
        (None, SamplingParams()),
        ('{"do_sample": true, "eos_token_id": [200002, 199999]}', SamplingParams(temperature=1.0)),
        ('{"do_sample": false}', SamplingParams(temperature=0.0)),
        ('{"temperature": 0.6, "top_k": 20, "top_p": 0.9, "min_p": null}', SamplingParams(0.6, 20, 0.9)),
    ],
)
def test_sampling_that_a_checkpoint_prefers(tmp_path: Path, text: str | None, params: SamplingParams) -> None:
    if text is not None:
        (tmp_path / "generation_config.json").write_text(text)
    assert preferred_sampling(tmp_path / "generation_config.json") == params


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "Expecting"),
        ("[]", r"it is no JSON object\)"),
        ('{"temperature": -1}', "temperature is -1; give a number from 0 to 100"),
        ('{"top_p": "high"}', r"top_p is 'high'; give a number\)"),
        ('{"top_k": 2.5}', r"top_k is 2\.5; give a whole number\)"),
    ],
)
def test_a_damaged_generation_config_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "generation_config.json").write_text(text)
    with pytest.raises(BadCheckpoint, match=rf"generation_config\.json cannot be used \({says}"):
        preferred_sampling(tmp_path / "generation_config.json")


def test_devices_and_dtypes() -> None:
    assert device_of("cpu") == torch.device("cpu")
    assert dtype_of("bfloat16") is dtype_of(torch.bfloat16) is dtype_of("torch.bfloat16") is torch.bfloat16
    assert dtype_of(None) is dtype_of("auto") is None
    for attempt, error, says in (
        (lambda: device_of("cudda"), BadRequest, "no device 'cudda'"),
        (lambda: device_of("cuda:99"), Unsupported, "no device cuda:99"),
        (lambda: device_of("mps"), Unsupported, "does not run on mps"),
        (lambda: dtype_of("float16"), BadRequest, "did you mean 'bfloat16'"),
    ):
        with pytest.raises(error, match=says):
            attempt()


def test_a_vocabulary_that_is_not_the_models(loaded: Loaded, vocabulary: Vocabulary) -> None:
    small = Transformer.load(Dummy(replace(loaded.transformer.config, n_layers=1, vocab_size=100)))
    with pytest.raises(BadCheckpoint, match="not of one checkpoint"):
        Loaded("mixed", small, vocabulary)
    with pytest.raises(BadRequest, match="its device and its dtype already"):
        LLM(loaded, device="cpu")


def test_errors_are_all_of_one_tree(llm: LLM) -> None:
    with pytest.raises(HarmoniumError):
        LLM("gpt-oss-20")
    with pytest.raises(HarmoniumError):
        LLM.dummy("tyni")
