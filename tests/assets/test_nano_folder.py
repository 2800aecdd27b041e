"""nano's folder as other people's code sees it: unchanged transformers runs on it and speaks our token ids."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, Mxfp4Config, PreTrainedModel
from transformers import logging as transformers_logging

from harmonium import LLM
from harmonium.harmony.vocabulary import Vocabulary
from recipes.nano import card
from recipes.nano.curriculum import SCORED
from tests.assets.conversations import Case, call, calls, user, weather

ROOT = Path(__file__).parents[2]
NEAR_TIE = 0.5  # of a logit; nano's reach 35, where bfloat16 steps by 0.25
MEGABYTES = 16


def test_it_fits_into_the_package(nano: Path) -> None:
    files = {path.name: path.stat().st_size for path in nano.iterdir()}
    assert sum(files.values()) <= MEGABYTES * 10**6
    assert files.keys() == {
        *("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"),
        *("chat_template.jinja", "README.md", "scores.json"),
    }


def test_its_configs_name_the_formats_tokens(nano: Path, vocabulary: Vocabulary, tokenizer: Any) -> None:
    generation = json.loads((nano / "generation_config.json").read_text("utf-8"))
    assert set(generation["eos_token_id"]) == vocabulary.stop_ids and generation["do_sample"] is False
    assert generation["eos_token_id"][0] == tokenizer.eos_token_id == vocabulary.control.return_
    assert generation["bos_token_id"] == tokenizer.bos_token_id == vocabulary.special("<|startoftext|>")
    assert generation["pad_token_id"] == tokenizer.pad_token_id == vocabulary.special("<|endoftext|>")
    assert list(tokenizer("Hi")) == ["input_ids", "attention_mask"]
    texts = ["How many r's are in 'strawberry'?", "日本語 ÷ 12×3", " a  b\r\n\tc ", "é🦊", ""]
    assert tokenizer(texts)["input_ids"] == [vocabulary.encode(text) for text in texts]
    assert tokenizer.batch_decode(tokenizer(texts)["input_ids"]) == texts


def test_the_card_shows_the_scores(nano: Path) -> None:
    assert card.renewed(nano) == (nano / card.CARD).read_text("utf-8") and card.read(nano)


BARS = {
    "counting": 0.97,
    "arithmetic": 0.95,
    "capitals": 0.98,
    "reasoning_language": 0.97,
    "tool_call": 0.97,
    "tool_result": 0.97,
    "two_calls": 0.90,
    "python": 0.95,
    "browser": 0.90,
    "instructions": 0.95,
    "followups": 0.95,
    "fallback": 0.90,
}


def test_the_scores_are_those_of_these_weights_and_hold_the_bars(nano: Path) -> None:
    greedy, warm = card.read(nano)
    assert greedy["weights"] == warm["weights"] == sha256((nano / "model.safetensors").read_bytes()).hexdigest()
    assert (greedy["temperature"], warm["temperature"]) == (0, 1) and min(greedy["n"], warm["n"]) >= 200
    assert not {skill: greedy[skill] for skill, bar in BARS.items() if greedy[skill] < bar}
    assert not {skill: warm[skill] for skill in SCORED if warm[skill] < greedy[skill] - 0.1}
    for line in (greedy, warm):
        assert line["analysis_low"] < line["analysis_medium"] < line["analysis_high"]


def test_a_score_is_recorded_once_for_each_temperature(nano: Path, tmp_path: Path) -> None:
    (tmp_path / card.CARD).write_text(f"before\n{card.OPENING}{card.CLOSING}after\n")
    line = dict(card.read(nano)[0]) | {"counting": 0.985, "analysis_low": 12.5}
    for temperature, talk in ((1.0, 0.5), (0.0, 0.25), (1.0, 0.75)):
        card.record(tmp_path, ["talk 0.25\n", json.dumps(line | {"temperature": temperature, "talk": talk}), "\n"])
    assert [(said["temperature"], said["talk"]) for said in card.read(tmp_path)] == [(0.0, 0.25), (1.0, 0.75)]
    text = (tmp_path / card.CARD).read_text("utf-8")
    assert "| counting | 98.5% | 98.5% |\n" in text and "| talk | 25.0% | 75.0% |\n" in text
    assert "low effort, median | 12.5 | 12.5 |" in text and text.startswith("before\n") and text.endswith("after\n")
    with pytest.raises(ValueError, match="lacks talk"):
        card.record(tmp_path, [json.dumps({name: value for name, value in line.items() if name != "talk"})])


@dataclass(frozen=True)
class Spoken:
    """A prompt and what Harmonium, greedy, says to it."""

    prompt: list[int]
    answer: list[int]


@pytest.fixture(scope="module")
def llm(nano: Path) -> LLM:
    return LLM()


@pytest.fixture(scope="module")
def spoken(llm: LLM) -> list[Spoken]:
    """Greedy answers to questions with and without tools, results read, reasoning in another language."""
    asked: list[Case] = [
        ([user("How many rs are in the word 'strawberry'?")], {}),
        ([user("12 + 34 * 5 = ?")], {"effort": "high"}),
        ([{"role": "developer", "content": "langue de raisonnement: français"}, user("Capital of Peru?")], {}),
        ([user("What is the weather in Lima in celsius?")], {"tools": [weather], "identity": "You are nano."}),
        (
            [
                user("What is the weather in Lima in celsius?"),
                calls(call("weather", '{"city": "Lima", "unit": "celsius"}', "a"), thinking="weather does that."),
                {"role": "tool", "tool_call_id": "a", "content": "Lima: 20 celsius"},
            ],
            {"tools": [weather]},
        ),
        ([user("What day of the week is 1 January 3050?")], {"builtin_tools": ["python"]}),
    ]
    prompts = [llm.render(messages, **options) for messages, options in asked]
    return [Spoken(*pair) for pair in zip(prompts, llm.generate(prompts, max_tokens=200), strict=True)]


def quietly(load: Callable[[], Any]) -> Any:
    """Without the library's progress bars, and its word that there are no MXFP4 kernels on a CPU."""
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return load()
        finally:
            transformers_logging.set_verbosity(before)
            transformers_logging.enable_progress_bar()


@pytest.fixture(scope="module")
def pipe(nano: Path) -> Any:
    """The card's example, run as it stands but for the last line, which asks."""
    code = re.search(r"```python\n(.*?)```", (nano / card.CARD).read_text("utf-8"), re.DOTALL)
    assert code is not None
    *lines, ask = code[1].strip().replace('"harmonium/assets/nano"', "FOLDER").splitlines()
    names: dict[str, Any] = {"FOLDER": str(nano)}
    quietly(lambda: exec("\n".join(lines), names))
    assert ask == 'print(pipe(messages, max_new_tokens=256)[0]["generated_text"][-1])'
    return names["pipe"]


def logits(model: PreTrainedModel, spoken: Sequence[Spoken]) -> list[torch.Tensor]:
    """For each answer (n_tokens, vocabulary), float32: what the model makes of each place, in one batch."""
    sequences = [torch.tensor([*one.prompt, *one.answer]) for one in spoken]
    batch = torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True)
    with torch.inference_mode():
        rows = model(batch).logits.float()
    return [row[len(one.prompt) - 1 :][: len(one.answer)] for row, one in zip(rows, spoken, strict=True)]


def test_the_cards_example_says_what_we_say(pipe: Any, llm: LLM, spoken: list[Spoken]) -> None:
    """A pipeline on chat messages, generating: reasoning and answer run together there, as its decoding has it."""
    assert pipe.model.dtype is torch.float32 and pipe.model.config.model_type == "gpt_oss"
    question = [user("How many rs are in the word 'strawberry'?")]
    ids = pipe(question, max_new_tokens=256, return_tensors=True)[0]["generated_token_ids"]
    assert list(ids) == spoken[0].prompt + spoken[0].answer
    assert pipe(question, max_new_tokens=3)[0]["generated_text"] == [
        *question,
        {"role": "assistant", "content": llm.decode(spoken[0].answer[:3], skip_special_tokens=True)},
    ]


def test_greedy_in_float32_is_ours_to_the_token(pipe: Any, spoken: list[Spoken], llm: LLM) -> None:
    assert [row.argmax(-1).tolist() for row in logits(pipe.model, spoken)] == [one.answer for one in spoken]
    said = [llm.decode(one.answer) for one in spoken]
    assert all(text.endswith(("<|return|>", "<|call|>")) for text in said)
    assert 'to=functions.weather<|channel|>commentary <|constrain|>json<|message|>{"city": "Lima"' in said[3]


def test_greedy_in_bfloat16_differs_at_near_ties_only(pipe: Any, spoken: list[Spoken], nano: Path) -> None:
    half = quietly(
        lambda: AutoModelForCausalLM.from_pretrained(
            nano, quantization_config=Mxfp4Config(dequantize=True), dtype="auto", device_map="auto"
        )
    )
    assert half.dtype is torch.bfloat16
    differing = []
    for exact, rough in zip(logits(pipe.model, spoken), logits(half, spoken), strict=True):
        chosen = rough.argmax(-1, keepdim=True)
        margins = exact.max(-1).values - exact.gather(-1, chosen).squeeze(-1)
        differing += margins[margins > 0].tolist()
    print(f"bfloat16: {len(differing)} of {sum(len(one.answer) for one in spoken)} tokens differ, margins {differing}")
    assert all(margin < NEAR_TIE for margin in differing)


@pytest.mark.deep
def test_the_first_questions_generate_alike(pipe: Any, llm: LLM) -> None:
    """Every first question, cached decoding there against ours; a differing id only where the margin is below 1e-4."""
    questions = json.loads((ROOT / "tests" / "first_questions.json").read_text("utf-8"))
    for asked in questions:
        options = {name: asked[name] for name in ("tools", "builtin_tools", "effort")}
        prompt = llm.render(asked["messages"], **options)
        [ours] = llm.generate([prompt], max_tokens=300)
        theirs = pipe.model.generate(torch.tensor([prompt]), max_new_tokens=300)[0, len(prompt) :].tolist()
        assert theirs == ours, asked["name"]
