"""Several turns that refer back: the next word, country or step of a sum, what was said, changes of subject, tools.

The last turn is learned and judged. Earlier turns carry an analysis that rendering drops.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

from harmonium.harmony.messages import Channel, Conversation, Message, Role, SystemContent
from recipes.nano.drill import Drill, Skill
from recipes.nano.scene import Scene, pick_language
from recipes.nano.skills import browser, python
from recipes.nano.skills.function_dialogs import dialog
from recipes.nano.skills.problem import final_judge, plain_scene
from recipes.nano.skills.subjects import Talk, about_turns, facts, letters, other_capitals, other_sums, subjects

_SUBJECTS: tuple[tuple[Callable[[Talk, int], None], int], ...] = (
    (letters, 20),
    (other_capitals, 20),
    (other_sums, 16),
    (facts, 18),
    (about_turns, 14),
    (subjects, 12),
)
_FILLERS = [fill for fill, _ in _SUBJECTS]
_WEIGHTS = [weight for _, weight in _SUBJECTS]


def _before_a_tool(random: Random, *, held_out: bool) -> Drill:
    """Plain turns, and then a question for a builtin tool that was there all along."""
    drill = random.choice((python.python, python.python, browser.browser))(random, held_out=held_out)
    talk = Talk(random, drill.language, held_out=held_out)
    subjects(talk, random.choice((1, 1, 2)))
    messages = list(drill.conversation.messages)
    opening, last = messages[: drill.n_given - 1], messages[drill.n_given - 1 :]
    given = [message for turn in talk.turns for message in (Message.user(turn.question), Message.final(turn.final))]
    n_given = drill.n_given + len(given)
    return replace(drill, skill="followups", conversation=Conversation((*opening, *given, *last)), n_given=n_given)


def _after_a_tool(random: Random, *, held_out: bool) -> Drill:
    """A builtin tool was used; what is asked now needs none."""
    while True:
        drill = random.choice((python.python, python.python, browser.browser))(random, held_out=held_out)
        before = drill.conversation.messages
        if before[1].role is Role.USER and before[-1].channel == Channel.FINAL:
            break
    (content,) = before[0].content
    assert isinstance(content, SystemContent) and content.effort is not None
    place = Scene(before, content.effort, "en")
    talk = Talk(random, drill.language, held_out=held_out, has_functions=True)
    subjects(talk, random.choice((1, 1, 2)))
    *earlier, last = talk.turns
    given = [message for turn in earlier for message in (Message.user(turn.question), Message.final(turn.final))]
    given.append(Message.user(last.question))
    return place.drill("followups", drill.language, given, last.turn(place), final_judge(last))


def followups(random: Random, *, held_out: bool) -> Drill:
    """A conversation of two to five turns, its last turn learned."""
    chance = random.random()
    if chance < 0.4:
        return dialog(random, "followups", held_out=held_out)
    if chance < 0.48:
        make = _before_a_tool if chance < 0.44 else _after_a_tool
        return make(random, held_out=held_out)
    language = pick_language(random)
    talk = Talk(random, language, held_out=held_out)
    random.choices(_FILLERS, _WEIGHTS)[0](talk, random.choice((2, 2, 2, 3, 3, 4, 5)))
    place = plain_scene(random)
    *before, last = talk.turns
    given: list[Message] = []
    for turn in before:
        given += [Message.user(turn.question), *turn.turn(place)]
    given.append(Message.user(last.question))
    return place.drill("followups", language, given, last.turn(place), final_judge(last))


SKILLS: dict[str, Skill] = {"followups": followups}
