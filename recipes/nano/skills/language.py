"""The language of reasoning: a developer message asks for it, and the analysis of an ordinary problem is in it.

The wish stands in that language's own words, in English, or now and then in a third one's; the question and its
final answer are in a language of their own.
"""

from __future__ import annotations

import re
from random import Random

from harmonium.harmony.messages import DeveloperContent, Message
from recipes.nano.drill import Answer, Drill, Skill
from recipes.nano.scene import Scene, scene
from recipes.nano.skills import arithmetic, capitals, counting
from recipes.nano.skills.problem import NEUTRAL, Problem
from recipes.nano.words import LANGUAGES

_NAMES = {
    "en": {"en": "English", "ja": "Japanese", "fr": "French", "de": "German", "es": "Spanish"},
    "ja": {"en": "英語", "ja": "日本語", "fr": "フランス語", "de": "ドイツ語", "es": "スペイン語"},
    "fr": {"en": "anglais", "ja": "japonais", "fr": "français", "de": "allemand", "es": "espagnol"},
    "de": {"en": "Englisch", "ja": "Japanisch", "fr": "Französisch", "de": "Deutsch", "es": "Spanisch"},
    "es": {"en": "inglés", "ja": "japonés", "fr": "francés", "de": "alemán", "es": "español"},
}
_WISHES = {
    "en": (
        "Reasoning language: {}",
        "Reasoning language: {}",
        "reasoning language: {}",
        "Reasoning language: {}.",
        "Think in {}.",
        "Reason in {}.",
        "Please reason in {}.",
        "Always think in {}.",
        "Use {} for your reasoning.",
        "Your analysis must be in {}.",
        "Do your thinking in {}.",
        "Write your chain of thought in {}.",
        "Analysis language: {}",
    ),
    "ja": (
        "推論言語: {}",
        "推論言語: {}",
        "推論言語:{}",
        "推論言語は{}です。",
        "思考言語: {}",
        "{}で考えてください。",
        "{}で推論してください。",
        "推論は{}で行ってください。",
        "分析は{}で書いてください。",
    ),
    "fr": (
        "langue de raisonnement: {}",
        "langue de raisonnement: {}",
        "Langue de raisonnement : {}",
        "langue de raisonnement : {}",
        "Raisonne en {}.",
        "Réfléchis en {}.",
        "Pense en {}.",
        "Ton raisonnement doit être en {}.",
        "Langue d'analyse : {}",
    ),
    "de": (
        "Denksprache: {}",
        "Denksprache: {}",
        "Sprache der Überlegungen: {}",
        "Denke auf {}.",
        "Überlege auf {}.",
        "Bitte denke auf {}.",
        "Deine Analyse soll auf {} sein.",
        "Sprache des Denkens: {}",
    ),
    "es": (
        "idioma de razonamiento: {}",
        "idioma de razonamiento: {}",
        "Idioma de razonamiento: {}",
        "lengua de razonamiento: {}",
        "Razona en {}.",
        "Piensa en {}.",
        "Tu razonamiento debe estar en {}.",
        "Idioma del análisis: {}",
    ),
}
_MARKERS = {
    language: frozenset(listed.split())
    for language, listed in (
        ("en", "so the is its at nowhere carry borrow check country numbered spelled"),
        ("fr", "donc le est sa son nulle retenue emprunt vérification pays capitale numérotées écrit"),
        ("de", "also das die ist an nirgends übertrag geborgt probe hauptstadt nummeriert schreibt"),
        ("es", "así que el es su ninguna llevo presto comprobación país numeradas escribe"),
    )
}
"""Words that only one language's workings use."""
_JAPANESE_MARKERS = ("よって", "首都", "国", "番目", "確認")


def language_of(analysis: str) -> str | None:
    """The language that an analysis of counting, arithmetic or capitals is in; None where nothing tells."""
    if any(marker in analysis for marker in _JAPANESE_MARKERS):
        return "ja"
    found = re.findall(r"[^\W\d_]+", analysis.lower())
    hits = {language: sum(word in markers for word in found) for language, markers in _MARKERS.items()}
    best = max(hits, key=lambda language: hits[language])
    return best if hits[best] else None


def wish(random: Random, thinking: str) -> str:
    """A developer's wish that the analysis be in a language: in its own words, in English, or in a third one's."""
    chance = random.random()
    spoken = thinking if chance < 0.5 else "en" if chance < 0.9 else random.choice(LANGUAGES)
    asked = random.choice(_WISHES[spoken]).format(_NAMES[spoken][thinking])
    return f"{random.choice(NEUTRAL)} {asked}" if random.random() < 0.1 else asked


def _problem(random: Random, thinking: str, *, held_out: bool) -> Problem:
    chance = random.random()
    language = thinking if chance < 0.45 else "en" if chance < 0.65 else random.choice(LANGUAGES)
    make = random.choices((counting.problem, arithmetic.problem, capitals.problem), (45, 25, 30))[0]
    return make(random, language, held_out=held_out)


def reasoning_language(random: Random, *, held_out: bool) -> Drill:
    """A problem under a wish for the language of reasoning."""
    thinking = random.choice(LANGUAGES)
    problem = _problem(random, thinking, held_out=held_out)
    base = scene(random, developer=DeveloperContent(instructions=wish(random, thinking)))
    setting = Scene(base.opening, base.effort, thinking)

    def is_right(answer: Answer) -> bool:
        return not answer.calls and problem.is_right(answer.final) and language_of(answer.analysis) == thinking

    given = [Message.user(problem.question)]
    return setting.drill("reasoning_language", problem.language, given, problem.turn(setting), is_right)


SKILLS: dict[str, Skill] = {"reasoning_language": reasoning_language}
