"""Functions are declared but none is called: the question needs none, or none does what is asked and nano says so."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from harmonium.harmony.messages import Conversation, DeveloperContent, Message, Role
from recipes.nano.drill import Answer, Drill, Skill
from recipes.nano.skills import arithmetic, capitals, counting, function_thoughts, talk
from recipes.nano.skills.beyond import beyond, fallback_reply
from recipes.nano.skills.function_library import SPOKEN, ask, declare
from recipes.nano.skills.function_scenes import as_typed, is_on_side, open_scene, pick_language, toolbox

_NO_TOOL = {
    "en": "I have no tool for that. {}",
    "fr": "Je n'ai pas d'outil pour cela. {}",
    "de": "Dafür habe ich kein Werkzeug. {}",
    "es": "No tengo herramienta para eso. {}",
    "ja": "そのための道具がありません。{}",
}
_NEAR = tuple(
    frozenset(text.split(" "))
    for text in (
        "reminder todo note timer alarm calendar time issue",
        "email message call contact user school",
        "weather location map",
        "file web note book news repo",
        "order parcel shop invoice warehouse ticket food bank",
        "math random units currency stock bank password",
        "flight train taxi map car hotel",
        "music tv movie book image color",
        "lights thermostat lock robot plant",
        "restaurant food recipe hotel",
        "health medicine fitness calendar",
        "dictionary spelling translate",
        "sports news poll horoscope",
    )
)
"""Topics that a stretched reading could take for each other: not beside a question that no function answers."""
_EASY: tuple[tuple[Skill, frozenset[str]], ...] = (
    (arithmetic.SKILLS["arithmetic"], frozenset({"math", "units", "currency", "random", "web"})),
    (capitals.SKILLS["capitals"], frozenset({"map", "web", "dictionary", "news", "location"})),
    (counting.SKILLS["counting"], frozenset({"spelling", "dictionary", "web", "file"})),
    (talk.SKILLS["talk"], frozenset({"web", "location", "user"})),
)
_WEB = frozenset({"web"})


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
    if random.random() < 0.25:
        return beyond(random, language, held_out=held_out), frozenset(name for group in _NEAR for name in group)
    family = random.choice(SPOKEN[language])
    request = ask(random, declare(random, family, held_out=held_out), language, held_out=held_out)
    near = [group for group in _NEAR if family.topic in group]
    return as_typed(random, request.question, request.said, language), _WEB.union([family.topic], *near)


def _says(text: str) -> Callable[[Answer], bool]:
    return lambda answer: answer.final.strip() == text and not answer.calls


def no_call(random: Random, *, held_out: bool) -> Drill:
    """Functions are there but not needed, or none of them does what is asked: said honestly."""
    if random.random() < 0.5:
        return _unneeded(random, held_out=held_out)
    language = pick_language(random)
    while True:
        question, avoid = _beyond_tools(random, language, held_out=held_out)
        if is_on_side(question, [], held_out):
            break
    tools = toolbox(random, [], held_out=held_out, avoid=avoid)
    place = open_scene(random, tools)
    final = _NO_TOOL[language].format(fallback_reply(language))
    learned = [Message.analysis(function_thoughts.none_fits(tools, place.effort)), Message.final(final)]
    return place.drill("no_call", language, [Message.user(question)], learned, _says(final))
