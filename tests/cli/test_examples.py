"""What `harmonium examples` promises, nano does."""

from pathlib import Path

import pytest

from harmonium import LLM
from harmonium.cli.examples import EXAMPLES, Example
from harmonium.cli.tour import ask

ANSWERS = {
    "How many r's are in the word 'strawberry'?": ("3",),
    "Combien de lettres 'r' y a-t-il dans le mot 'strawberry'?": ("3",),
    "2 + 2 * 3 = ?": ("8",),
    "What is 348 + 597?": ("945",),
    "What is the capital of Australia?": ("Canberra",),
    "フランスの首都は何ですか?": ("パリ",),
    "What is the capital of Spain?": ("Madrid",),
    "What is the capital of Italy?": ("Rome",),
    "How many a's are in the word 'banana'?": ("3",),
    "What is the weather like in Madrid?": ("sunny, 27 degrees",),
    "What is the weather like in Paris and in Tokyo?": ("light rain, 16", "cloudy, 21"),
    "What is the capital of Japan?": ("TOKYO",),
    "How many n's are in the word 'banana'?": ("2", "1"),
    "Who are you?": ("nano",),
    "Explain what MXFP4 quantization is.": ("gpt-oss-20b",),
}


@pytest.fixture(scope="module")
def llm(nano: Path) -> LLM:
    return LLM()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example.skill}: {example.prompt}")
def test_nano_answers_its_examples(llm: LLM, example: Example) -> None:
    replies = ask(llm, example, None)
    said = " ".join(reply.text for reply in replies)
    for expected in ANSWERS[example.prompt]:
        assert expected in said
    assert all(reply.finish_reason == "stop" and not reply.repairs for reply in replies)


def test_effort_shows_in_the_length_of_the_reasoning(llm: LLM) -> None:
    question = Example("effort", "How many a's are in the word 'banana'?")
    lengths = [
        ask(llm, Example(question.skill, question.prompt, effort=effort), None)[0].usage.reasoning
        for effort in ("low", "medium", "high")
    ]
    assert lengths[0] < lengths[1] < lengths[2]
