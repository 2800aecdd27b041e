"""Several turns that refer back: the next word, country or step of a sum, what was said, changes of subject.

A conversation opens with a subject (letters of a word, a capital, a sum, something the user tells about themselves),
goes on for some turns, and its last turn is learned and judged. Earlier turns carry an analysis that rendering drops.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import Random
from unicodedata import normalize

from harmonium.harmony.messages import Conversation, Effort, Message
from recipes.nano import sums
from recipes.nano.countries import COUNTRIES, of_country
from recipes.nano.drill import Drill, Skill
from recipes.nano.scene import FIRST_QUESTIONS, pick_language
from recipes.nano.skills import arithmetic, browser, capitals, counting, python
from recipes.nano.skills.bases import Base, beyond_base, capital_base, letter_base, sum_base
from recipes.nano.skills.counting import Count
from recipes.nano.skills.problem import Problem, final_judge, only_number, plain_scene
from recipes.nano.skills.talk import small_talk, talk_analysis, talk_reply
from recipes.nano.sums import Operation
from recipes.nano.wordings import load
from recipes.nano.words import KATAKANA, is_held_out, person_name, place_name

_WORDS = load("followups")
_CAPITAL_REPLIES = load("instructions")["capital reply"]
_FACTS = ("name", "name", "town", "dog", "number", "color")


class _Conversation:
    """What was said so far, and how the next turns are drawn."""

    def __init__(self, random: Random, language: str, *, held_out: bool) -> None:
        self.random = random
        self.language = language
        self.held_out = held_out
        self.turns: list[Problem] = []

    def say(self, section: str, **slots: object) -> str:
        """What the user says: one of the wordings."""
        return self.random.choice(_WORDS[section][self.language]).format(**slots)

    def reply(self, section: str, **slots: object) -> str:
        """What nano answers: the one wording."""
        return _WORDS[section][self.language][0].format(**slots)

    def fixed(self, question: str, thought: str, final: str, **slots: object) -> Problem:
        """A turn whose analysis is one sentence and whose answer is one text."""
        analysis = partial(_thought, thought, slots)
        return Problem(self.language, question, analysis, final, lambda text: text.strip() == final, question)


def _thought(thought: str, slots: dict[str, object], thinking: str, effort: Effort) -> str:
    return _WORDS[f"{effort}: {thought}"][thinking][0].format(**slots)


def _plain(base: Base) -> Problem:
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


def _tells(base: Base, text: str) -> bool:
    return base.is_told(text.strip(), base.final)


def _letters(talk: _Conversation, n_turns: int) -> None:
    """A letter counted in a word; then in other words, or other letters in it."""
    base = letter_base(talk.random, talk.language, held_out=talk.held_out)
    while base.slots["w"] in KATAKANA:
        base = letter_base(talk.random, talk.language, held_out=talk.held_out)
    talk.turns.append(_plain(base))
    word, letter = base.slots["w"], base.slots["l"]
    while len(talk.turns) < n_turns:
        if talk.random.random() < 0.7:
            word = _next_word(talk, letter)
            question = talk.say("next word", w=word)
        else:
            letter = counting.letter_of(talk.random, word.lower())
            question = talk.say("next letter", l=letter)
        talk.turns.append(_count(talk.language, question, Count(word, word.lower(), letter)))


def _next_word(talk: _Conversation, letter: str) -> str:
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


def _capitals(talk: _Conversation, n_turns: int) -> None:
    """The capital of a country; then of others, or the same in another language."""
    random, language = talk.random, talk.language
    base = capital_base(random, language, held_out=talk.held_out)
    talk.turns.append(_plain(base))
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


def _sums(talk: _Conversation, n_turns: int) -> None:
    """A sum; then its result worked on, or another sum."""
    random = talk.random
    base = sum_base(random, talk.language, held_out=talk.held_out)
    talk.turns.append(_plain(base))
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


def _value(talk: _Conversation, fact: str) -> str:
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


def _facts(talk: _Conversation, n_turns: int) -> None:
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
            talk.turns.append(_anything(talk))
    ask = talk.say(f"{fact}: ask")
    if is_told:
        talk.turns.append(talk.fixed(ask, "ask", talk.reply(f"{fact}: reply", v=value), v=value))
    else:
        talk.turns.append(talk.fixed(ask, "untold thought", talk.reply("untold")))


def _anything(talk: _Conversation) -> Problem:
    """An independent question."""
    random = talk.random
    if random.random() < 0.2:
        kind, said = small_talk(random, talk.language, held_out=talk.held_out)
        final = talk_reply(kind, talk.language)
        return Problem(talk.language, said, partial(talk_analysis, kind), final, partial(_same, final), said)
    make = random.choice((capital_base, capital_base, sum_base, letter_base, beyond_base))
    while True:
        made = _plain(make(random, talk.language, held_out=talk.held_out))
        if made.question not in FIRST_QUESTIONS:
            return made


def _subjects(talk: _Conversation, n_turns: int) -> None:
    """Questions that have nothing to do with each other."""
    while len(talk.turns) < n_turns:
        talk.turns.append(_anything(talk))


def _about_turns(talk: _Conversation, n_turns: int) -> None:
    """Questions, and then one about what was said: the first or last question, the answer again, is it right?"""
    random = talk.random
    while len(talk.turns) < n_turns - 1:
        turn = _anything(talk)
        if len(turn.question) <= 60:
            talk.turns.append(turn)
    kind = random.choice(("first", "last", "again", "sure"))
    first, last = talk.turns[0], talk.turns[-1]
    if kind == "sure":
        final = talk.reply("yes", f=last.final)
        question = talk.say("sure")
        talk.turns.append(Problem(talk.language, question, last.analysis, final, partial(_same, final), question))
    elif kind == "again":
        talk.turns.append(talk.fixed(talk.say("again"), "again thought", last.final))
    else:
        asked = (first if kind == "first" else last).question
        talk.turns.append(talk.fixed(talk.say(kind), f"{kind} thought", talk.reply("question reply", q=asked)))


_SUBJECTS: tuple[tuple[Callable[[_Conversation, int], None], int], ...] = (
    (_letters, 20),
    (_capitals, 20),
    (_sums, 16),
    (_facts, 18),
    (_about_turns, 14),
    (_subjects, 12),
)
_FILLERS = [fill for fill, _ in _SUBJECTS]
_WEIGHTS = [weight for _, weight in _SUBJECTS]


def _before_a_tool(random: Random, *, held_out: bool) -> Drill:
    """Plain turns, and then a question for a builtin tool that was there all along."""
    drill = random.choice((python.python, python.python, browser.browser))(random, held_out=held_out)
    talk = _Conversation(random, drill.language, held_out=held_out)
    _subjects(talk, random.choice((1, 1, 2)))
    messages = list(drill.conversation.messages)
    opening, last = messages[: drill.n_given - 1], messages[drill.n_given - 1 :]
    given = [message for turn in talk.turns for message in (Message.user(turn.question), Message.final(turn.final))]
    n_given = drill.n_given + len(given)
    return replace(drill, skill="followups", conversation=Conversation((*opening, *given, *last)), n_given=n_given)


def followups(random: Random, *, held_out: bool) -> Drill:
    """A conversation of two to four turns, its last turn learned."""
    if random.random() < 0.07:
        return _before_a_tool(random, held_out=held_out)
    language = pick_language(random)
    talk = _Conversation(random, language, held_out=held_out)
    random.choices(_FILLERS, _WEIGHTS)[0](talk, random.choice((2, 2, 2, 3, 3, 4)))
    place = plain_scene(random)
    *before, last = talk.turns
    given: list[Message] = []
    for turn in before:
        given += [Message.user(turn.question), *turn.turn(place)]
    given.append(Message.user(last.question))
    return place.drill("followups", language, given, last.turn(place), final_judge(last))


SKILLS: dict[str, Skill] = {"followups": followups}
