"""What functions cannot do: questions that none of those declared answers, and the honest reply."""

from __future__ import annotations

from random import Random

from recipes.nano.scene import FIRST_QUESTIONS, roughen
from recipes.nano.skills.beyond import fallback_reply
from recipes.nano.skills.function_library import SPOKEN, Function, ask, declare
from recipes.nano.skills.function_scenes import as_typed
from recipes.nano.wordings import load
from recipes.nano.words import is_held_out

_NO_TOOL = {
    "en": "I have no tool for that. {}",
    "fr": "Je n'ai pas d'outil pour cela. {}",
    "de": "Dafür habe ich kein Werkzeug. {}",
    "es": "No tengo herramienta para eso. {}",
    "ja": "そのための道具がありません。{}",
}
NEAR = tuple(
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
WEB = frozenset({"web"})
BESIDE_PLAIN = frozenset(
    ("math", "units", "currency", "random", "web", "map", "dictionary", "spelling", "news", "location", "file", "user")
)
"""Topics whose functions could be taken to answer what nano answers itself: not declared where it is to do so."""
NOT_ABOUT_TOPICS = frozenset(("web", "news", "dictionary", "book", "translate", "note", "file", "school", "poll"))
"""Topics whose functions could be taken to explain something."""
COMMON = frozenset(("weather", "time", "shop", "timer", "flight"))
"""Topics that people try first."""
_CLOSE = (
    *("web", "news", "stock", "book", "actualité", "bourse", "livre", "action", "nachricht", "aktie", "buch", "bücher"),
    *("noticia", "acción", "bolsa", "libro", "ニュース", "ウェブ", "株", "本", "検索", "busca", "search", "look up"),
)
"""In the wording of a question, these may mean a function that is declared."""


def _topical() -> dict[str, tuple[str, ...]]:
    """Ways to ask about a topic of knowledge, which is no function's job, by language."""
    asks = load("beyond")["questions"]
    return {
        language: tuple(
            text for text in texts if "{topic}" in text and not any(word in text.lower() for word in _CLOSE)
        )
        for language, texts in asks.items()
    }


_TOPICAL = _topical()


def about_a_topic(random: Random, language: str, *, held_out: bool) -> str:
    """ "Explain gravity.", "What is MXFP4?": beyond nano, and beyond any function but those that search."""
    topics = load("beyond")["topics"][language]
    while True:
        question = random.choice(_TOPICAL[language])
        for slot in ("{topic}", "{topic2}"):
            question = question.replace(slot, random.choice(topics))
        if is_held_out(question) == held_out and question not in FIRST_QUESTIONS:
            typed = roughen(random, question, language)
            if typed not in FIRST_QUESTIONS:
                return typed


def beyond_these(random: Random, tools: list[Function], language: str, *, held_out: bool) -> str:
    """A question that none of the declared functions answers: for another function, or about a topic."""
    declared = {tool.family.topic for tool in tools}
    if random.random() < 0.6 and not declared & NOT_ABOUT_TOPICS:
        return about_a_topic(random, language, held_out=held_out)
    avoid = declared.union(WEB, *(group for group in NEAR if group & declared))
    families = [family for family in SPOKEN[language] if family.topic not in avoid]
    common = [family for family in families if family.topic in COMMON]
    family = random.choice(common if common and random.random() < 0.2 else families)
    request = ask(random, declare(random, family, held_out=held_out), language, held_out=held_out)
    return as_typed(random, request.question, request.said, language)


def no_tool(language: str) -> str:
    """The honest reply."""
    return _NO_TOOL[language].format(fallback_reply(language))
