"""Functions are declared but none is called: the question needs none, or none does what is asked and nano says so."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from harmonium.harmony.messages import Conversation, DeveloperContent, Message, Role
from recipes.nano.drill import Answer, Drill, Skill
from recipes.nano.skills import arithmetic, capitals, counting, function_thoughts, talk
from recipes.nano.skills.beyond import beyond
from recipes.nano.skills.function_dialogs import dialog
from recipes.nano.skills.function_library import SPOKEN, ask, declare
from recipes.nano.skills.function_limits import COMMON, NEAR, NOT_ABOUT_TOPICS, WEB, about_a_topic, no_tool
from recipes.nano.skills.function_scenes import as_typed, is_on_side, open_scene, pick_language, toolbox

_EASY: tuple[tuple[Skill, frozenset[str]], ...] = (
    (arithmetic.SKILLS["arithmetic"], frozenset({"math", "units", "currency", "random", "web"})),
    (capitals.SKILLS["capitals"], frozenset({"map", "web", "dictionary", "news", "location"})),
    (counting.SKILLS["counting"], frozenset({"spelling", "dictionary", "web", "file"})),
    (talk.SKILLS["talk"], frozenset({"web", "location", "user"})),
)


def _unneeded(random: Random, *, held_out: bool) -> Drill:
    """An ordinary question of another skill with functions in the developer message."""
    skill, avoid = random.choice(_EASY)
    drill = skill(random, held_out=held_out)
    tools = tuple(tool.spec for tool in toolbox(random, [], held_out=held_out, avoid=avoid))
    system, *rest = drill.conversation.messages
    instructions, n_more = None, 1
    if rest[0].role is Role.DEVELOPER and isinstance(content := rest[0].content[0], DeveloperContent):
        instructions, n_more, rest = content.instructions, 0, rest[1:]
    developer = Message.developer(DeveloperContent(instructions, tools))
    conversation = Conversation((system, developer, *rest))
    return Drill("no_call", drill.language, conversation, drill.n_given + n_more, drill.judge)


def _beyond_tools(random: Random, language: str, *, held_out: bool) -> tuple[str, frozenset[str]]:
    """A question for something that no function will be declared for, and the topics to leave out."""
    luck = random.random()
    if luck < 0.3:
        return about_a_topic(random, language, held_out=held_out), NOT_ABOUT_TOPICS
    if luck < 0.4:
        return beyond(random, language, held_out=held_out), frozenset(name for group in NEAR for name in group)
    families = [family for family in SPOKEN[language] if family.topic in COMMON or random.random() < 0.5]
    family = random.choice(families)
    request = ask(random, declare(random, family, held_out=held_out), language, held_out=held_out)
    near = [group for group in NEAR if family.topic in group]
    return as_typed(random, request.question, request.said, language), WEB.union([family.topic], *near)


def _says(text: str) -> Callable[[Answer], bool]:
    return lambda answer: answer.final.strip() == text and not answer.calls


def no_call(random: Random, *, held_out: bool) -> Drill:
    """Functions are there but not needed, or none of them does what is asked: said honestly."""
    luck = random.random()
    if luck < 0.4:
        return dialog(random, "no_call", held_out=held_out, ends_in_call=0)
    if luck < 0.7:
        return _unneeded(random, held_out=held_out)
    language = pick_language(random)
    while True:
        question, avoid = _beyond_tools(random, language, held_out=held_out)
        if is_on_side(question, [], held_out):
            break
    tools = toolbox(random, [], held_out=held_out, avoid=avoid)
    place = open_scene(random, tools)
    final = no_tool(language)
    learned = [Message.analysis(function_thoughts.none_fits(tools, place.effort)), Message.final(final)]
    return place.drill("no_call", language, [Message.user(question)], learned, _says(final))
