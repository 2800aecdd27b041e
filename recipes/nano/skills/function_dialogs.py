"""Conversations with functions: questions that need one, the same function again, another one, and none at all.

Functions are declared throughout. A turn is drawn by what went before it: a finished call, a capital, a sum; so that
the last user message alone says what it needs. Only the last turn is learned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from harmonium.harmony.messages import Message
from recipes.nano.drill import Answer, Drill
from recipes.nano.scene import Scene
from recipes.nano.skills import function_thoughts, subjects
from recipes.nano.skills.function_inventions import ask_for_invention, invent
from recipes.nano.skills.function_library import FAMILIES, PAIRED, SPOKEN, Function, Request, ask, declare, subject
from recipes.nano.skills.function_limits import BESIDE_PLAIN, beyond_these, no_tool
from recipes.nano.skills.function_results import result_of, tells
from recipes.nano.skills.function_scenes import as_typed, demo, hasty, is_on_side, open_scene, pick_language, toolbox
from recipes.nano.skills.function_turns import answers, is_finally, turn
from recipes.nano.skills.instructions import instruction
from recipes.nano.skills.problem import Problem, final_judge
from recipes.nano.skills.subjects import Talk
from recipes.nano.skills.talk import is_exactly

_AGAIN = {
    "en": (
        *("And for {}?", "And {}?", "What about {}?", "The same for {}, please.", "Now {}.", "How about {}?"),
        *("and {}?", "and {}", "what about {}", "And what about {}?", "{}?", "Same for {}.", "Also {}?"),
    ),
    "fr": ("Et pour {} ?", "Et {} ?", "et {} ?", "La même chose pour {}."),
    "de": ("Und für {}?", "Und {}?", "und {}?", "Was ist mit {}?", "Dasselbe für {}."),
    "es": ("¿Y para {}?", "¿Y {}?", "y {}?", "Lo mismo para {}."),
    "ja": ("{}は?", "{}についてもお願いします。", "では{}は?"),
}
_AGAIN_PLACE = {
    "en": ("And in {}?", "and in {}?", "What about in {}?", "and in {}", "And how is it in {}?"),
    "fr": ("Et à {} ?", "et à {} ?"),
    "de": ("Und in {}?", "und in {}?"),
    "es": ("¿Y en {}?", "y en {}?"),
    "ja": ("{}では?",),
}
_PLACED = (FAMILIES["weather.now"], FAMILIES["time.now"])
_TRIES = 100


@dataclass(frozen=True)
class Turn:
    """question: what the user says. said: what the assistant does in a scene. request: the call it makes, if any."""

    question: str
    said: Callable[[Scene], list[Message]]
    judge: Callable[[Answer], bool]
    final: str
    request: Request | None = None


class _Dialog:
    """The functions that are declared, those that are asked for, and the turns so far."""

    def __init__(self, random: Random, language: str, *, held_out: bool) -> None:
        self.random = random
        self.language = language
        self.held_out = held_out
        self.asked, self.tools = self._functions()
        self.turns: list[Turn] = []
        self.is_told = False
        self.is_stuck = False

    def _functions(self) -> tuple[list[Function], list[Function]]:
        """Those that are asked for, and all that are declared."""
        random = self.random
        if random.random() < 0.15:
            functions = list(demo())
            random.shuffle(functions)
            return (functions, functions) if random.random() < 0.8 else (functions[:1], functions[:1])
        asked: list[Function] = []
        for _ in range(random.choice((1, 1, 2, 2, 3))):
            function = self._function()
            others = {(other.family.topic, other.spec.name) for other in asked}
            if all(function.family.topic != topic and function.spec.name != name for topic, name in others):
                asked.append(function)
        return asked, toolbox(random, asked, held_out=self.held_out, avoid=BESIDE_PLAIN)

    def _function(self) -> Function:
        random = self.random
        if self.language == "en" and random.random() < 0.12:
            return invent(random, held_out=self.held_out)
        families = PAIRED if random.random() < 0.6 else SPOKEN
        while True:
            family = random.choice(families[self.language])
            if family.topic not in BESIDE_PLAIN:
                return declare(random, family, held_out=self.held_out)

    def add(self, needs_call: bool) -> None:
        """Another turn, of a kind that fits the one before."""
        random = self.random
        before = self.turns[-1].request if self.turns else None
        if needs_call:
            can_go_on = before is not None and before.function.family in PAIRED[self.language]
            again = self._again(before) if before is not None and can_go_on and random.random() < 0.45 else None
            self._call(again or self._fresh())
        elif random.random() < 0.2:
            question = beyond_these(random, self.tools, self.language, held_out=self.held_out)
            self.turns.append(_none_fits(question, self.tools, self.language))
        elif self.turns and random.random() < 0.08 and len(self.turns[0].question + self.turns[-1].question) < 150:
            self._about_turns()
        else:
            self._plain()

    def _fresh(self) -> Request | None:
        """A whole question for one of the functions; None where few can be asked and none is on this side."""
        random = self.random
        for _ in range(_TRIES):
            function = random.choice(self.asked)
            if function.family in SPOKEN[self.language]:
                request = ask(random, function, self.language, held_out=self.held_out)
            else:
                request = ask_for_invention(random, function, held_out=self.held_out)
            if random.random() < 0.2:
                request = hasty(request, self.language)
            else:
                request = replace(request, question=as_typed(random, request.question, request.said, self.language))
            if is_on_side(request.question, [request.function], self.held_out):
                return request
        return None

    def _again(self, before: Request) -> Request | None:
        """The same function for something else; what else was asked of it stays."""
        random, function = self.random, before.function
        parameter = next(one for one in function.family.parameters if one.is_required)
        wordings = _AGAIN[self.language]
        if function.family in _PLACED:
            wordings += _AGAIN_PLACE[self.language] * 2
        name = function.names[parameter.key]
        for _ in range(_TRIES):
            slot = parameter.kind.draw(random, self.held_out, self.language)
            question = random.choice(wordings).format(slot.said)
            if slot.value == before.arguments[name] or not is_on_side(question, [function], self.held_out):
                continue
            about = subject(function, {parameter.key: slot}, self.language)
            arguments = {**before.arguments, name: slot.value}
            request = Request(function, question, arguments, before.wants, about, (slot.said,))
            return hasty(request, self.language) if random.random() < 0.15 else request
        return None

    def _call(self, request: Request | None) -> None:
        if request is None:
            self.is_stuck = True
            return
        result = result_of(self.random, request.function.family, held_out=self.held_out)
        final = answers([request], [result], self.language)

        def said(place: Scene) -> list[Message]:
            return turn(request, result, self.tools, place, final)

        self.turns.append(Turn(request.question, said, tells([result], final), final, request))

    def _plain(self) -> None:
        """One to three turns that need no function: small talk or another skill, and how it goes on."""
        talk = Talk(self.random, self.language, held_out=self.held_out, has_functions=True)
        fill, n_turns = self.random.choices(_PLAIN, _PLAIN_WEIGHTS)[0]
        if fill is subjects.facts and self.is_told:
            fill = _greeting
        self.is_told = self.is_told or fill is subjects.facts
        fill(talk, n_turns)
        self.turns += map(_of_problem, talk.turns)

    def _about_turns(self) -> None:
        """What was asked or answered, again."""
        talk = Talk(self.random, self.language, held_out=self.held_out, has_functions=True)
        first, last = self.turns[0], self.turns[-1]
        self.turns.append(_of_problem(subjects.about(talk, first.question, last.question, last.final)))


def _greeting(talk: Talk, n_turns: int) -> None:
    talk.turns.append(subjects.chat(talk))


_PLAIN: tuple[tuple[Callable[[Talk, int], None], int], ...] = (
    (_greeting, 1),
    (subjects.subjects, 1),
    (subjects.letters, 2),
    (subjects.other_capitals, 2),
    (subjects.other_sums, 2),
    (subjects.facts, 2),
)
_PLAIN_WEIGHTS = (30, 42, 7, 8, 7, 6)


def _of_problem(problem: Problem) -> Turn:
    return Turn(problem.question, problem.turn, final_judge(problem), problem.final)


def _none_fits(question: str, tools: Sequence[Function], language: str) -> Turn:
    """A question that no function answers, nor nano."""
    final = no_tool(language)

    def said(place: Scene) -> list[Message]:
        return [Message.analysis(function_thoughts.none_fits(tools, place.effort)), Message.final(final)]

    return Turn(question, said, is_exactly(final), final)


def _drawn(random: Random, ends_in_call: float, *, held_out: bool) -> _Dialog:
    dialog = _Dialog(random, pick_language(random), held_out=held_out)
    is_call = random.random() < ends_in_call
    for _ in range(random.choice((0, 0, 0, 1, 1, 2))):
        dialog.add(needs_call=random.random() < 0.5)
    if not is_call or random.random() < 0.6:
        dialog.add(needs_call=True)
    elif not dialog.turns:
        dialog.add(needs_call=False)
    dialog.add(needs_call=is_call)
    return dialog


def dialog(random: Random, skill: str, *, held_out: bool, ends_in_call: float = 0.5) -> Drill:
    """Two turns or more with functions declared, of which one at least needs a call.

    ends_in_call: how often the last one does; else it needs none, after a call.
    """
    dialog = _drawn(random, ends_in_call, held_out=held_out)
    while dialog.is_stuck:
        dialog = _drawn(random, ends_in_call, held_out=held_out)
    last = dialog.turns[-1]
    if last.request is not None and dialog.language != "ja" and random.random() < 0.1:
        return _in_case(random, skill, dialog)
    return _told(skill, dialog, open_scene(random, dialog.tools), last.judge, str)


def _in_case(random: Random, skill: str, dialog: _Dialog) -> Drill:
    """The same under an instruction: every answer in capitals, or in small letters."""
    section, shaped = random.choice((("upper", str.upper), ("upper", str.upper), ("lower", str.lower)))
    place = open_scene(random, dialog.tools, instruction(random, section, dialog.language))
    return _told(skill, dialog, place, is_finally(shaped(dialog.turns[-1].final)), shaped)


def _told(
    skill: str, dialog: _Dialog, place: Scene, judge: Callable[[Answer], bool], shaped: Callable[[str], str]
) -> Drill:
    """The dialog as messages, every answer shaped."""
    messages: list[Message] = []
    n_given = 0
    for one in dialog.turns:
        said = one.said(place)
        messages += [Message.user(one.question), *said[:-1], Message.final(shaped(said[-1].text))]
        n_given = len(messages) - len(said)
    return place.drill(skill, dialog.language, messages[:n_given], messages[n_given:], judge)
