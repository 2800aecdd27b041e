"""The scene of a drill: system and developer messages, effort, language of reasoning, and small changes to a question.

Also the questions that people meet first in the guides. Their exact strings never appear in training; their kinds do.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from harmonium.harmony.messages import DEFAULT_IDENTITY, Conversation, DeveloperContent, Effort, Message, SystemContent
from recipes.nano.drill import Answer, Drill
from recipes.nano.words import LANGUAGES

FIRST_QUESTIONS = frozenset(
    (
        "How many rs are in the word 'strawberry'?",
        "How many r's are in the word 'strawberry'?",
        "ストロベリーという単語にはrが何個含まれていますか?",
        "Combien de lettres 'r' y a-t-il dans le mot 'strawberry'?",
        "Combien de lettres 'r' y a-t-il dans le mot 'strawberry' ?",
        "Quelle est la capitale de l'Australie?",
        "Quelle est la capitale de l'Australie ?",
        "フランスの首都は何ですか?",
        "2 + 2 × 3 = ?",
        "What is the weather like in SF?",
        "What is the weather like in Madrid?",
        "What is the weather like in Paris?",
        "3050年の1月1日は何曜日?",
        "スペインとフランスそれぞれの最高気温を調べてください",
        "What's the weather like in Paris?",
        "Explain what MXFP4 quantization is.",
        "MXFP4量子化とは何か説明してください。",
        "Explique ce qu'est la quantification MXFP4.",
        "Erkläre, was MXFP4-Quantisierung ist.",
        "Explica qué es la cuantización MXFP4.",
        "Write a poem about the sea and the moon.",
        "how many r in strawberry",
        "how many e in television",
        "How many letters are in encyclopedia?",
        "How many n's are in the word communication?",
        "how many i in international",
        "how many e's in weather?",
        "capital of france",
        "capital of germany?",
        "whats the capital of spain",
        "what is the capital of the usa?",
        "capital of uk",
        "Is Paris the capital of Spain?",
        "is tokyo the capital of japan",
        "What is the capital of Atlantis?",
        "capital of texas",
        "2+2",
        "what's 2+2",
        "2 plus 2",
        "five plus three",
        "7 divided by 2",
        "10 / 4",
        "10 / 3",
        "2^10",
        "3 squared",
        "3 - 8",
        "banana",
        "🍓",
    )
)

KNOWN_BY_HEART = frozenset(
    (
        *("hi", "hello", "hey", "yo", "sup", "good morning", "hi there", "hello there", "hallo", "guten tag"),
        *("guten morgen", "bonjour", "salut", "hola", "buenos días", "こんにちは", "おはよう", "thanks", "thank you"),
        *("thx", "ty", "danke", "vielen dank", "merci", "gracias", "ありがとう", "bye", "goodbye", "good night", "ok"),
        *(
            "okay",
            "cool",
            "nice",
            "lol",
            "yes",
            "no",
            "great",
            "how are you",
            "whats up",
            "who are you",
            "what are you",
        ),
        *("what is your name", "whats your name", "what can you do", "help", "help me", "how can you help me"),
        *("who made you", "who created you", "are you chatgpt", "tell me a joke", "あなたは誰ですか", "何ができますか"),
        *("wer bist du", "was kannst du", "wie geht es dir", "qui estu", "comment ça va", "quién eres", "cómo estás"),
    )
)
"""Small talk that people type first, as in_small writes it: nothing else tells what it means, so it is not held out."""

_EFFORTS = (Effort.LOW, Effort.MEDIUM, Effort.MEDIUM, Effort.MEDIUM, Effort.HIGH)
_DATES = ("2025-08-05", "2025-11-30", "2026-01-17", "2026-06-28", "2026-11-21", "2027-03-09")
_THINK_IN: dict[str, tuple[str, ...]] = {
    "en": ("Reasoning language: English", "Think in English.", "Reason in English."),
    "ja": ("推論言語: 日本語", "日本語で考えてください。", "Reasoning language: Japanese", "Think in Japanese."),
    "fr": (
        "langue de raisonnement: français",
        "Raisonne en français.",
        "Reasoning language: French",
        "Think in French.",
    ),
    "de": ("Denksprache: Deutsch", "Denke auf Deutsch.", "Reasoning language: German", "Think in German."),
    "es": ("idioma de razonamiento: español", "Razona en español.", "Reasoning language: Spanish", "Think in Spanish."),
}
_MARKS = str.maketrans("", "", "?!.,:;'’¿¡\"")
_APOSTROPHE = re.compile(r"(?<=\w)'(?=\w)")
_IDENTITIES = ("You are a helpful assistant.", "You are nano.", "You are a friendly robot.", "You are an AI assistant.")
_NEUTRAL = ("You are a helpful assistant.", "You are a helpful assistant.", "Use a friendly tone.", "Help the user.")
_BEFORE: dict[str, tuple[str, ...]] = {
    "en": ("Please tell me: ", "Hello! ", "Hi, ", "Quick question: ", "Question: ", "One question. ", "Tell me, "),
    "ja": ("教えてください。", "こんにちは。", "質問です。", "すみません、", "ちょっと質問: "),
    "fr": ("Bonjour, ", "Dis-moi : ", "Une question : ", "S'il te plaît, ", "Question : "),
    "de": ("Hallo, ", "Sag mir bitte: ", "Eine Frage: ", "Kurze Frage: ", "Frage: "),
    "es": ("Hola, ", "Dime: ", "Una pregunta: ", "Por favor, ", "Pregunta: "),
}
_AFTER: dict[str, tuple[str, ...]] = {
    "en": (" Thanks!", " Thank you.", " Please.", " I need it now."),
    "ja": ("お願いします。", "ありがとう。"),
    "fr": (" Merci !", " Merci d'avance."),
    "de": (" Danke!", " Vielen Dank."),
    "es": (" ¡Gracias!", " Gracias."),
}


@dataclass(frozen=True)
class Scene:
    """opening: the system message and perhaps a developer message. thinking: the language that analysis is in."""

    opening: tuple[Message, ...]
    effort: Effort
    thinking: str

    def drill(
        self,
        skill: str,
        language: str,
        given: list[Message],
        learned: list[Message],
        judge: Callable[[Answer], bool],
    ) -> Drill:
        """The drill whose prompt is the opening and `given`, and whose last turn is `learned`."""
        messages = (*self.opening, *given, *learned)
        return Drill(skill, language, Conversation(messages), len(self.opening) + len(given), judge)


def pick_language(random: Random) -> str:
    """English four times in ten, else one of the other four."""
    return "en" if random.random() < 0.4 else random.choice(LANGUAGES[1:])


def scene(random: Random, *, builtin_tools: tuple[str, ...] = (), developer: DeveloperContent | None = None) -> Scene:
    """An opening with a random effort; without developer content, now and then a wish for a language of reasoning."""
    effort = random.choice(_EFFORTS)
    date = random.choice(_DATES) if random.random() < 0.2 else None
    identity = random.choice(_IDENTITIES) if random.random() < 0.04 else DEFAULT_IDENTITY
    content = SystemContent(identity=identity, effort=effort, date=date, builtin_tools=builtin_tools)
    opening = [Message.system(content)]
    thinking = "en"
    if developer is None and random.random() < 0.1:
        thinking = random.choice(LANGUAGES)
        developer = DeveloperContent(instructions=random.choice(_THINK_IN[thinking]))
    elif developer is None and builtin_tools and random.random() < 0.1:
        developer = DeveloperContent(instructions=random.choice(_NEUTRAL))
    if developer is not None:
        opening.append(Message.developer(developer))
    return Scene(tuple(opening), effort, thinking)


def roughen(random: Random, question: str, language: str) -> str:
    """The question as people also type it: other marks, a word more, no question mark, a small first letter."""
    question = _retyped(random, question, language)
    chance = random.random()
    if chance < 0.6:
        return question
    if chance < 0.7:
        return random.choice(_BEFORE[language]) + question
    if chance < 0.78:
        return question + random.choice(_AFTER[language])
    if chance < 0.88:
        return question.rstrip(" ?？.。!")
    return question[0].lower() + question[1:]


def casual(question: str, language: str) -> str:
    """The question as it is typed in haste: small letters, nothing at its end, in English no apostrophes."""
    typed = question.lower().rstrip(" ?？.。!").replace("¿", "").replace("¡", "")
    return _APOSTROPHE.sub("", typed) if language == "en" else typed


def hurried(random: Random, question: str, language: str) -> str:
    """One time in six in small letters, half of these without marks as well: "whats the capital of france"."""
    if language == "ja" or random.random() > 1 / 6:
        return question
    return question.lower() if random.random() < 0.5 else in_small(question)


def in_small(question: str) -> str:
    """The question in small letters and without marks."""
    return question.lower().translate(_MARKS).strip()


def plain_key(question: str) -> str:
    """The question without case and marks: what it is told apart by, however it is typed."""
    return " ".join(re.sub(r"[^\w ]", "", question.lower()).split())


def _retyped(random: Random, question: str, language: str) -> str:
    """Now and then with the marks of another keyboard: wide in Japanese, no space before, curly apostrophes."""
    if random.random() > 0.25:
        return question
    match language:
        case "ja":
            return question.replace("?", "？")
        case "fr" if random.random() < 0.5:
            return question.replace(" ?", "?")
    return _APOSTROPHE.sub("’", question)
