"""The basic skills of nano's curriculum: their workings are true, their split is clean, their judges can say no."""

from __future__ import annotations

import re
from functools import cache
from random import Random
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonium.harmony.messages import Channel, DeveloperContent, Effort, SystemContent
from recipes.nano import fractions, sums, words
from recipes.nano.countries import COUNTRIES, of_country
from recipes.nano.drill import Answer, Drill, Skill
from recipes.nano.pieces import pieces
from recipes.nano.scene import FIRST_QUESTIONS
from recipes.nano.skills import arithmetic, capitals, copying, counting, language
from recipes.nano.sums import Operation

SKILLS: dict[str, Skill] = {
    name: skill
    for module in (counting, arithmetic, capitals, language, copying)
    for name, skill in module.SKILLS.items()
}
SCORED = ("counting", "arithmetic", "capitals", "reasoning_language")
PROBLEMS = {"counting": counting.problem, "arithmetic": arithmetic.problem, "capitals": capitals.problem}


def own_answer(drill: Drill) -> Answer:
    analysis, final = drill.conversation.messages[drill.n_given :]
    assert (analysis.channel, final.channel) == (Channel.ANALYSIS, Channel.FINAL)
    return Answer(analysis.text, final.text)


def question(drill: Drill) -> str:
    return drill.conversation.messages[drill.n_given - 1].text


def effort(drill: Drill) -> Effort:
    (content,) = drill.conversation.messages[0].content
    assert isinstance(content, SystemContent) and content.effort is not None
    return content.effort


@cache
def drills(name: str, n: int, held_out: bool = False) -> list[Drill]:
    random = Random(f"{name} {held_out}")
    return [SKILLS[name](random, held_out=held_out) for _ in range(n)]


@pytest.mark.parametrize("name", SKILLS)
def test_a_seed_decides_everything(name: str) -> None:
    first, second = ([SKILLS[name](random, held_out=False) for _ in range(50)] for random in (Random(5), Random(5)))
    assert [drill.conversation for drill in first] == [drill.conversation for drill in second]


@pytest.mark.parametrize("name", SKILLS)
def test_a_judge_accepts_the_drills_own_answer(name: str) -> None:
    assert all(drill.judge(own_answer(drill)) for drill in drills(name, 1000))


@pytest.mark.parametrize("name", SCORED)
def test_a_judge_rejects_what_is_wrong(name: str) -> None:
    for drill in drills(name, 300):
        answer = own_answer(drill)
        wrong = re.sub(r"\d+(?=\D*$)", lambda found: str(int(found.group()) + 1), answer.final)
        if wrong == answer.final:
            wrong = wrong.replace(re.findall(r"[^\W_]+", wrong)[-1], "?").translate(
                {ord(c): "?" for c in "aeiouアイラン"}
            )
        assert not drill.judge(Answer(answer.analysis, wrong)), wrong
        assert not drill.judge(Answer(answer.analysis, ""))
        assert not drill.judge(Answer(answer.analysis, answer.final, (("functions.f", "{}"),)))


@pytest.mark.parametrize("name", SCORED)
def test_held_out_questions_are_never_trained(name: str) -> None:
    trained = {question(drill) for drill in drills(name, 3000)}
    assert trained.isdisjoint(question(drill) for drill in drills(name, 600, True))
    assert trained.isdisjoint(FIRST_QUESTIONS)
    assert not any("strawberry" in asked.lower() for asked in trained)


def test_held_out_words_are_never_looked_at_in_training() -> None:
    random = Random(1)
    for _ in range(3000):
        word = counting.word_for(random, "en", held_out=False)
        assert not words.is_held_out(word) and word not in words.ALWAYS_HELD_OUT
        assert words.is_held_out(counting.word_for(random, "en", held_out=True))


def test_held_out_expressions_are_never_trained_in_any_wording() -> None:
    random = Random(2)
    trained = {arithmetic.problem(random, "fr", held_out=False).key for _ in range(4000)}
    assert trained.isdisjoint(arithmetic.problem(random, "ja", held_out=True).key for _ in range(800))
    assert "2 + 2 × 3" not in trained


@pytest.mark.parametrize("name", SCORED)
def test_analysis_grows_with_effort(name: str) -> None:
    lengths = {
        level: median(len(own_answer(drill).analysis) for drill in drills(name, 3000) if effort(drill) is level)
        for level in Effort
    }
    assert lengths[Effort.LOW] < lengths[Effort.MEDIUM] < lengths[Effort.HIGH]


@pytest.mark.parametrize("name", PROBLEMS)
def test_an_analysis_tells_its_language(name: str) -> None:
    random = Random(3)
    for _ in range(400):
        problem = PROBLEMS[name](random, random.choice(words.LANGUAGES), held_out=False)
        thinking, level = random.choice(words.LANGUAGES), random.choice(list(Effort))
        analysis = problem.analysis(thinking, level)
        assert language.language_of(analysis) == thinking, analysis


def test_reasoning_in_another_language_than_asked_for_is_wrong() -> None:
    for drill in drills("reasoning_language", 200):
        content = drill.conversation.messages[1].content[0]
        assert isinstance(content, DeveloperContent) and content.instructions
        answer = own_answer(drill)
        asked = language.language_of(answer.analysis)
        for other, said in {"en": "so the answer is 1", "fr": "donc le résultat est 1", "ja": "よって1個。"}.items():
            assert drill.judge(Answer(said, answer.final)) == (other == asked)


def test_a_spelled_word_is_the_word() -> None:
    for drill in drills("counting", 2000):
        asked, analysis = question(drill), own_answer(drill).analysis
        spelled = re.search(r"(?:[^\W_]\d*-)+[^\W_]\d*", analysis)
        if spelled is None:
            continue
        word = re.sub(r"[-\d]", "", spelled.group())
        assert word in asked.lower() or word in words.KATAKANA.values()


def facts(working: str) -> list[tuple[str, str]]:
    """Every "left=right" of numbers and signs in a working, without the words between."""
    calculation = r"-?\d+(?: ?[-+×÷] ?\d+)*"
    return re.findall(rf"({calculation}) ?= ?({calculation})", working)


def python(text: str) -> int:
    return int(eval(text.replace("×", "*").replace("÷", "//")))


@settings(max_examples=120, deadline=None)
@given(st.integers(0, 999), st.sampled_from("+-×÷"), st.integers(0, 999), st.sampled_from(list(Effort)))
def test_every_step_of_a_working_is_true(left: int, sign: str, right: int, level: Effort) -> None:
    if sign == "÷":
        right = right % 8 + 2
        left -= left % right
    operation = Operation(left, sign, right)
    working = sums.working(operation, "en", level)
    found = facts(working)
    assert found
    assert all(python(a) == python(b) for a, b in found), working
    assert working.endswith(f"so {python(sums.text(operation))}.")


def test_mixed_expressions_follow_precedence() -> None:
    random = Random(4)
    for _ in range(1500):
        made = arithmetic.expression(random, held_out=False)
        assert python(sums.text(made)) == sums.value(made)
        assert sums.working(made, "de", Effort.MEDIUM).endswith(f"also {sums.value(made)}.")


@given(st.integers(0, 999), st.integers(1, 25))
def test_a_quotient_is_exact_or_there_is_none(a: int, b: int) -> None:
    quotient = fractions.quotient(a, b)
    if quotient is None:
        assert 1000 * a % b
        assert "does not end" in fractions.division(a, b, "en", Effort.MEDIUM)
    else:
        assert float(quotient) == a / b
        assert fractions.division(a, b, "fr", Effort.LOW).endswith(f"donc {quotient}.")


@given(st.integers(0, 30), st.integers(0, 4), st.sampled_from(list(Effort)))
def test_every_step_of_a_power_is_true(base: int, exponent: int, level: Effort) -> None:
    working = fractions.power(base, exponent, "en", level)
    assert working.endswith(f"so {base**exponent}.")
    found = facts(re.sub(r"\d+\^\d+ = ", "", working))
    assert all(python(a) == python(b) for a, b in found), working


def test_every_piece_of_the_vocabulary_is_spelled_and_no_held_out_word() -> None:
    assert {"weather", "Weather", "television", "ation"} <= set(pieces())
    seen: set[str] = set()
    for drill in drills("copying", 12_000):
        for line in own_answer(drill).final.split("\n"):
            word, _, letters = line.partition(": ")
            if letters == "-".join(word.lower()) and word.isalpha():
                seen.add(word)
    known = {piece.lower() for piece in pieces()}
    assert len(seen & set(pieces())) > 0.9 * len(pieces())
    assert all(not words.is_held_out(word) or word.lower() in known for word in seen)
    assert max(map(len, seen)) > 25


def test_made_up_words_are_not_rude() -> None:
    assert words.is_rude("Shitfield") and not words.is_rude("Tallinn")
    assert not any(words.is_rude(words.place_name(Random(n))) for n in range(3000))


def test_working_out_of_the_first_question() -> None:
    two_plus = Operation(2, "+", Operation(2, "×", 3))
    assert sums.working(two_plus, "en", Effort.MEDIUM) == "2 + 2 × 3. 2 × 3 = 6. 2 + 6 = 8, so 8."
    count = counting.Count("strawberry", "strawberry", "r")
    assert counting.analysis(count, "en", Effort.MEDIUM) == "s-t-r-a-w-b-e-r-r-y: r at 3, 8, 9, so 3."
    assert counting.final(count, "en") == 'There are 3 r\'s in "strawberry".'


def test_countries_are_named_once_in_every_language() -> None:
    assert len(COUNTRIES) >= 100
    for spoken in words.LANGUAGES:
        names = [country.names[spoken] for country in COUNTRIES]
        cities = [country.capitals[spoken] for country in COUNTRIES]
        assert len(set(names)) == len(set(cities)) == len(COUNTRIES)
        assert all(names) and all(cities)
    assert of_country("le Japon", "fr") == "du Japon" and of_country("die Schweiz", "de") == "der Schweiz"


def test_words_split_by_their_spelling_alone() -> None:
    assert set(words.held_out_words("en")) >= words.ALWAYS_HELD_OUT and words.is_held_out("Strawberry")
    for spoken in words.LANGUAGES:
        listed = words.words_of(spoken)
        assert len(listed) > 150 and set(words.train_words(spoken)) | set(words.held_out_words(spoken)) == set(listed)
        assert 0.04 < len(words.held_out_words(spoken)) / len(listed) < 0.16
    random = Random(6)
    made = [words.pseudo_word(random, spoken) for spoken in words.LANGUAGES for _ in range(400)]
    assert all(3 <= len(word) <= 14 for word in made)
    assert 0.06 < sum(map(words.is_held_out, made)) / len(made) < 0.14
