"""Subjects of a conversation that refer back: the next word, country or step of a sum, what was said or told before.

Each opens with a question (letters of a word, a capital, a sum, something the user tells about themselves) and goes on
for some turns. Skills choose the scene, and which turns are learned.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from unicodedata import normalize

from harmonium.harmony.messages import Effort
from recipes.nano import sums
from recipes.nano.countries import COUNTRIES, of_country
from recipes.nano.scene import FIRST_QUESTIONS, casual
from recipes.nano.skills import arithmetic, capitals, counting
from recipes.nano.skills.bases import Base, beyond_base, capital_base, letter_base, sum_base
from recipes.nano.skills.counting import Count
from recipes.nano.skills.problem import Problem, only_number
from recipes.nano.skills.talk import small_talk, talk_analysis, talk_reply
from recipes.nano.sums import Operation
from recipes.nano.wordings import load
from recipes.nano.words import KATAKANA, is_held_out, person_name, place_name

_WORDS = load("followups")
_CAPITAL_REPLIES = load("instructions")["capital reply"]
_FACTS = ("name", "name", "town", "dog", "number", "color")


class Talk:
    """What was said so far on a subject, and how the next turns are drawn.

    has_functions: functions are declared, beside which what is beyond nano is answered otherwise: not drawn here.
    """

    def __init__(self, random: Random, language: str, *, held_out: bool, has_functions: bool = False) -> None:
        self.random = random
        self.language = language
        self.held_out = held_out
        self.has_functions = has_functions
        self.turns: list[Problem] = []

    def say(self, section: str, **slots: object) -> str:
        """What the user says: one of the wordings, now and then carelessly typed, but for words and names in it."""
        said = self.random.choice(_WORDS[section][self.language]).format(**slots)
        if self.random.random() > 0.2:
            return said
        typed = casual(said, self.language)
        return typed if all(str(slots[key]) in typed for key in ("w", "v") if key in slots) else said

    def reply(self, section: str, **slots: object) -> str:
        """What nano answers: the one wording."""
        return _WORDS[section][self.language][0].format(**slots)

    def fixed(self, question: str, thought: str, final: str, **slots: object) -> Problem:
        """A turn whose analysis is one sentence and whose answer is one text."""
        analysis = partial(_thought, thought, slots)
        return Problem(self.language, question, analysis, final, lambda text: text.strip() == final, question)


def _thought(thought: str, slots: dict[str, object], thinking: str, effort: Effort) -> str:
    return _WORDS[f"{effort}: {thought}"][thinking][0].format(**slots)


def plain(base: Base) -> Problem:
    """A question of another skill as it stands."""
    final = base.final
    return Problem(
        base.language,
        base.question,
        base.analysis,
        final,
        lambda text: base.is_told(text.strip(), final),
        base.question,
    )


def letters(talk: Talk, n_turns: int) -> None:
    """A letter counted in a word; then in other words, or other letters in it."""
    base = letter_base(talk.random, talk.language, held_out=talk.held_out)
    while base.slots["w"] in KATAKANA:
        base = letter_base(talk.random, talk.language, held_out=talk.held_out)
    talk.turns.append(plain(base))
    word, letter = base.slots["w"], base.slots["l"]
    to_words = talk.random.choice((0.1, 0.7, 0.7, 1.0))
    while len(talk.turns) < n_turns:
        if talk.random.random() < to_words:
            word = _next_word(talk, letter)
            question = talk.say("next word", w=word)
        else:
            letter = counting.letter_of(talk.random, word.lower())
            question = talk.say("next letter", l=letter)
        talk.turns.append(_count(talk.language, question, Count(word, word.lower(), letter)))


def _next_word(talk: Talk, letter: str) -> str:
    """Another short word, mostly one that has the letter, and never the letter with another accent."""
    while True:
        word = counting.word_for(talk.random, talk.language, held_out=talk.held_out)
        letters = set(word.lower())
        if len(word) > 9 or any(other != letter and _is_variant(other, letter) for other in letters):
            continue
        if letter in letters or talk.random.random() < 0.15:
            return word


def _is_variant(letter: str, other: str) -> bool:
    """Whether two letters differ by an accent only: such words are not asked for."""
    return normalize("NFD", letter)[0] == normalize("NFD", other)[0]


def _count(language: str, question: str, count: Count) -> Problem:
    n = len(count.positions)
    analysis, final = partial(counting.analysis, count), counting.final(count, language)
    return Problem(language, question, analysis, final, lambda text: only_number(text) == n, question)


def _locative(name: str) -> str:
    """A country as a place in French: "en France", "au Japon", "aux États-Unis"."""
    for article, preposition in (("la ", "en "), ("l'", "en "), ("le ", "au "), ("les ", "aux ")):
        if name.startswith(article):
            return preposition + name[len(article) :]
    return f"à {name}"


def other_capitals(talk: Talk, n_turns: int) -> None:
    """The capital of a country; then of others, or the same in another language."""
    random, language = talk.random, talk.language
    base = capital_base(random, language, held_out=talk.held_out)
    talk.turns.append(plain(base))
    while len(talk.turns) < n_turns:
        if len(talk.turns) == n_turns - 1 and random.random() < 0.15:
            other = random.choice([name for name in base.finals if name != language])
            question, final = talk.say(f"say in {other}"), base.finals[other]
            talk.turns.append(Problem(language, question, base.analysis, final, partial(_same, final), question))
            return
        country = random.choice(COUNTRIES)
        names = {name: of_country(country.names[name], name) for name in country.names}
        slots = {"name": country.names[language], "of": names[language], "in": _locative(country.names[language])}
        question = talk.say("next country", **slots)
        if is_held_out(talk.turns[0].key + question) != talk.held_out:
            continue
        finals = {name: _CAPITAL_REPLIES[name][0].format(of=names[name], city=country.capitals[name]) for name in names}
        city = country.capitals[language]
        analysis = partial(capitals.analysis, country, 0)
        talk.turns.append(Problem(language, question, analysis, finals[language], partial(_within, city), question))
        base = Base("capital", language, question, analysis, finals, city, {}, talk.held_out)


def _same(wanted: str, text: str) -> bool:
    return text.strip() == wanted


def _within(wanted: str, text: str) -> bool:
    return wanted in text


def other_sums(talk: Talk, n_turns: int) -> None:
    """A sum; then its result worked on, or another sum."""
    random = talk.random
    base = sum_base(random, talk.language, held_out=talk.held_out)
    talk.turns.append(plain(base))
    value = int(base.answer)
    while len(talk.turns) < n_turns:
        if random.random() < 0.25:
            step = arithmetic.expression(random, held_out=talk.held_out)
            question = talk.say("next sum", e=sums.text(step))
        else:
            sign, number = random.choice("++--××"), random.randint(2, 99)
            number = random.randint(2, 9) if sign == "×" else min(number, value) if sign == "-" else number
            if not 2 <= value <= 999:
                step = arithmetic.expression(random, held_out=talk.held_out)
                question = talk.say("next sum", e=sums.text(step))
            else:
                step = Operation(value, sign, number)
                question = talk.say(f"next {sign}", k=number)
        text, value_after = sums.text(step), sums.value(step)
        if len(text) > 9 or is_held_out(text) != talk.held_out:
            continue
        value = value_after
        final, analysis = f"{text} = {value}", partial(sums.working, step)
        talk.turns.append(Problem(talk.language, question, analysis, final, partial(_same, final), question))


def _value(talk: Talk, fact: str) -> str:
    """What the user tells, on the asked side of the split (colors are too few to split)."""
    random = talk.random
    makers: dict[str, Callable[[], str]] = {
        "name": lambda: person_name(random, random.choice(("en", "fr", "de", "es", "ja"))),
        "dog": lambda: person_name(random, "en"),
        "town": lambda: place_name(random),
        "number": lambda: str(random.randint(2, 10 ** random.randint(1, 6))),
        "color": lambda: random.choice(_WORDS["colors"][talk.language]),
    }
    while True:
        value = makers[fact]()
        if fact == "color" or is_held_out(value) == talk.held_out:
            return value


def facts(talk: Talk, n_turns: int) -> None:
    """The user tells something, perhaps asks other things, and wants it back; or wants what was never told."""
    fact = talk.random.choice(_FACTS)
    is_told = talk.random.random() < 0.88
    value = _value(talk, fact)
    if is_told:
        tell = talk.say(f"{fact}: tell", v=value)
        talk.turns.append(talk.fixed(tell, "tell", talk.reply("noted", v=value), v=value))
    while len(talk.turns) < n_turns - 1:
        if talk.random.random() < 0.3:
            other = talk.random.choice([name for name in _FACTS if name != fact])
            told = _value(talk, other)
            tell = talk.say(f"{other}: tell", v=told)
            talk.turns.append(talk.fixed(tell, "tell", talk.reply("noted", v=told), v=told))
        else:
            talk.turns.append(anything(talk))
    ask = talk.say(f"{fact}: ask")
    if is_told:
        talk.turns.append(talk.fixed(ask, "ask", talk.reply(f"{fact}: reply", v=value), v=value))
    else:
        talk.turns.append(talk.fixed(ask, "untold thought", talk.reply("untold")))


def chat(talk: Talk) -> Problem:
    """A greeting, thanks, a question about nano."""
    kind, said = small_talk(talk.random, talk.language, held_out=talk.held_out)
    final = talk_reply(kind, talk.language)
    return Problem(talk.language, said, partial(talk_analysis, kind), final, partial(_same, final), said)


def anything(talk: Talk) -> Problem:
    """An independent question, or small talk."""
    return chat(talk) if talk.random.random() < 0.2 else _known_or_beyond(talk)


def _known_or_beyond(talk: Talk) -> Problem:
    random = talk.random
    makers = (capital_base, capital_base, sum_base, letter_base)
    make = random.choice(makers if talk.has_functions else (*makers, beyond_base))
    while True:
        made = plain(make(random, talk.language, held_out=talk.held_out))
        if made.question not in FIRST_QUESTIONS:
            return made


def subjects(talk: Talk, n_turns: int) -> None:
    """Questions that have nothing to do with each other."""
    while len(talk.turns) < n_turns:
        talk.turns.append(anything(talk))


def about_turns(talk: Talk, n_turns: int) -> None:
    """Questions, and then one about what was said: the first or last question, the answer again, is it right?"""
    is_sure = talk.random.random() < 0.25
    while len(talk.turns) < n_turns - 1:
        turn = _known_or_beyond(talk) if is_sure else anything(talk)
        if len(turn.question) <= 60:
            talk.turns.append(turn)
    first, last = talk.turns[0], talk.turns[-1]
    if is_sure:
        final = talk.reply("yes", f=last.final)
        question = talk.say("sure")
        talk.turns.append(Problem(talk.language, question, last.analysis, final, partial(_same, final), question))
    else:
        talk.turns.append(about(talk, first.question, last.question, last.final))


def about(talk: Talk, first: str, last: str, final: str) -> Problem:
    """A question for the conversation's first or last question, or for the last answer once more."""
    kind = talk.random.choice(("first", "last", "again"))
    if kind == "again":
        return talk.fixed(talk.say("again"), "again thought", final)
    asked = first if kind == "first" else last
    return talk.fixed(talk.say(kind), f"{kind} thought", talk.reply("question reply", q=asked))
