"""Copying exercises: say it again, spell it, take it out of a table or JSON. Training only: other skills stand on it.

The material covers what questions and tool calls have in them: words, names, identifiers, letters without order,
numbers, dates, paths, addresses, sentences in five languages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from random import Random

from harmonium.harmony.messages import Effort, Message
from recipes.nano import words
from recipes.nano.drill import Drill, Skill
from recipes.nano.pieces import pieced_word, pieces, spelled
from recipes.nano.scene import Scene, pick_language
from recipes.nano.skills.problem import plain_scene

_REPEAT = {
    "en": (
        "Repeat exactly: {}",
        "Repeat: {}",
        "Say: {}",
        "Copy this: {}",
        'Repeat after me: "{}"',
        "Write exactly this: {}",
        "Echo {}",
        "Please repeat the following text: {}",
        "{}\n\nRepeat this.",
    ),
    "ja": (
        "繰り返してください: {}",
        "そのまま書いてください: {}",
        "「{}」と言ってください。",
        "次を写してください: {}",
    ),
    "fr": ("Répète exactement : {}", "Répète : {}", "Écris exactement ceci : {}", "Recopie : {}"),
    "de": ("Wiederhole genau: {}", "Wiederhole: {}", "Schreib genau das: {}", "Sag: {}"),
    "es": ("Repite exactamente: {}", "Repite: {}", "Escribe exactamente esto: {}", "Copia: {}"),
}
_SPELL = {
    "en": (
        "Spell {}.",
        "Spell the word {}.",
        "How do you spell {}?",
        "Spell {} letter by letter.",
        "What letters make up {}?",
    ),
    "ja": ("{}の綴りは?", "{}を一文字ずつ書いてください。"),
    "fr": ("Épelle {}.", "Comment s'épelle {} ?"),
    "de": ("Buchstabiere {}.", "Wie buchstabiert man {}?"),
    "es": ("Deletrea {}.", "¿Cómo se deletrea {}?"),
}
_SPELL_EACH = {
    "en": ("Spell each of these: {}", "Spell these words: {}", "Spell every word: {}", "Spell: {}"),
    "ja": ("それぞれの綴りは? {}", "一語ずつ綴ってください: {}"),
    "fr": ("Épelle chaque mot : {}", "Épelle : {}"),
    "de": ("Buchstabiere jedes Wort: {}", "Buchstabiere: {}"),
    "es": ("Deletrea cada palabra: {}", "Deletrea: {}"),
}
_JOIN = {
    "en": ("Which word is {}?", "Join the letters: {}", "What does {} spell?"),
    "ja": ("{}をつなげてください。",),
    "fr": ("Assemble les lettres : {}",),
    "de": ("Füge die Buchstaben zusammen: {}",),
    "es": ("Une las letras: {}",),
}
_LOOK_UP = {
    "en": ("What is {}?", "What is the value of {}?", "Look up {}.", "Which value belongs to {}?", "Give me {}."),
    "ja": ("{}は何ですか?", "{}の値は?"),
    "fr": ("Que vaut {} ?", "Quelle est la valeur de {} ?"),
    "de": ("Was ist {}?", "Welchen Wert hat {}?"),
    "es": ("¿Qué valor tiene {}?", "¿Cuál es el valor de {}?"),
}
_NTH = {
    "en": ("Which is the {} item: {}?", "Take the {} one of these: {}", "{} in this list, please: {}"),
    "ja": ("{}のものを答えてください: {}",),
    "fr": ("Donne le {} élément : {}",),
    "de": ("Nenne das {} Element: {}",),
    "es": ("Dime el {} elemento: {}",),
}
_ORDINALS = {
    "en": ("first", "second", "third", "last"),
    "ja": ("1番目", "2番目", "3番目", "最後"),
    "fr": ("premier", "deuxième", "troisième", "dernier"),
    "de": ("erste", "zweite", "dritte", "letzte"),
    "es": ("primer", "segundo", "tercer", "último"),
}
_AS_JSON = {
    "en": ("Write as JSON: {}", "Turn this into a JSON object: {}", "Make JSON of {}"),
    "ja": ("JSONにしてください: {}",),
    "fr": ("Écris en JSON : {}",),
    "de": ("Schreib als JSON: {}",),
    "es": ("Escribe como JSON: {}",),
}
_SENTENCES = {
    "en": (
        "The {a} {n} will {v} a {m}.",
        "{p} likes the {a} {n} in {c}.",
        "Did {p} see {n} number {d}?",
        "We {v} the {n}.",
    ),
    "ja": ("{n}と{m}があります。", "{p}さんは{c}で{n}を見ました。", "{n}は{d}円です。", "この{n}は{m}より大きい。"),
    "fr": ("Le {n} de {p} est à {c}.", "Voici {d} {n} et un {m}.", "{p} cherche le {n}."),
    "de": ("Das {n} von {p} ist in {c}.", "Hier sind {d} {n} und {m}.", "{p} sucht {n}."),
    "es": ("El {n} de {p} está en {c}.", "Aquí hay {d} {n} y {m}.", "{p} busca {n}."),
}
_COPY = {"en": "Copy: {}", "ja": "写す: {}", "fr": "Copie : {}", "de": "Abschrift: {}", "es": "Copia: {}"}
_AGAIN = {
    "en": " Again: {}",
    "ja": " もう一度: {}",
    "fr": " Encore : {}",
    "de": " Noch einmal: {}",
    "es": " Otra vez: {}",
}
_ADJECTIVES = [word for word in words.ADJECTIVES if not words.is_held_out(word)]
_VERBS = [word for word in words.VERBS if not words.is_held_out(word)]
_FIGURES = re.compile(r"-?[\d.]+")
Exercise = tuple[str, str, str]
"""Question, answer, and what the analysis copies on the way."""


def _word(random: Random, language: str) -> str:
    """A listed word of training, or a made-up one, in the spelling it happens to have."""
    chance = random.random()
    if chance < 0.4:
        return random.choice(words.train_words(language))
    if chance < 0.8:
        return words.made_up(lambda: words.pseudo_word(random, language), held_out=False)
    return words.made_up(lambda: words.random_letters(random, 2, 12), held_out=False)


def _sentence(random: Random, language: str) -> str:
    listed = words.train_words(language)
    return random.choice(_SENTENCES[language]).format(
        a=random.choice(_ADJECTIVES),
        n=random.choice(listed),
        m=_word(random, language),
        v=random.choice(_VERBS),
        p=words.person_name(random, language),
        c=words.place_name(random, language),
        d=random.randint(2, 999),
    )


def _figures(random: Random) -> str:
    """Numbers as they are met: plain, with a point, dates, times, versions, phone numbers."""
    number = random.randint(0, 10 ** random.randint(1, 9))
    return random.choice(
        (
            str(number),
            f"-{number}",
            f"{number / 100:.2f}",
            f"{random.randint(1900, 2099)}-{random.randint(1, 12):02}-{random.randint(1, 28):02}",
            f"{random.randint(0, 23)}:{random.randint(0, 59):02}",
            f"{random.randint(0, 9)}.{random.randint(0, 30)}.{random.randint(0, 9)}",
            f"+{random.randint(1, 99)} {random.randint(100, 999)} {random.randint(1000, 9999)}",
            f"{random.randint(1, 99)}%",
        )
    )


def _address(random: Random) -> str:
    """Web pages, mail addresses and paths with made-up names."""
    one, two = words.identifier(random, 1), words.identifier(random)
    return random.choice(
        (
            f"https://{one}.example/{two}",
            f"{one}@{words.pseudo_word(random)}.example",
            f"/{one}/{two}.txt",
            f"{two}.{random.choice(('py', 'json', 'csv', 'md', 'png'))}",
            f"{two}({one})",
            f"{one}.{two}",
        )
    )


def _code(random: Random) -> str:
    """Letters and digits without order, in either case."""
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    letters += "-_" * random.randint(0, 1)
    while words.is_rude(code := "".join(random.choices(letters, k=random.randint(3, 14)))):
        pass
    return code


def snippet(random: Random, language: str) -> str:
    """One short thing to copy: a word, a name, an identifier, figures, an address, letters without order."""
    chance = random.random()
    if chance < 0.3:
        return _word(random, language)
    if chance < 0.45:
        make = random.choice((words.person_name, words.place_name))
        return make(random, language)
    if chance < 0.6:
        return words.identifier(random)
    if chance < 0.72:
        return _figures(random)
    if chance < 0.8:
        return _address(random)
    if chance < 0.9:
        return _code(random)
    return words.random_letters(random, 2, 14)


def _repeat(random: Random, language: str) -> Exercise:
    chance = random.random()
    if chance < 0.35:
        told = snippet(random, language)
    elif chance < 0.65:
        told = _sentence(random, language)
    else:
        separator = random.choice((" ", " ", ", ", ", ", "; ", "\n"))
        told = separator.join(snippet(random, language) for _ in range(random.randint(2, 6)))
    return random.choice(_REPEAT[language]).format(told), told, told


def _to_spell(random: Random, language: str) -> str:
    """A piece of the vocabulary (any: its letters are a fact to know), or a word of training, in any case."""
    chance = random.random()
    if chance < 0.4:
        word = random.choice(pieces())
    elif chance < 0.65:
        word = random.choice(words.train_words(language))
    elif chance < 0.85:
        longest = 30 if random.random() < 0.15 else 16
        word = words.made_up(lambda: pieced_word(random, 3, longest), held_out=False)
    elif chance < 0.92:
        word = words.made_up(lambda: words.pseudo_word(random, language), held_out=False)
    else:
        longest = 30 if random.random() < 0.2 else 20
        word = words.made_up(lambda: words.random_letters(random, 2, longest), held_out=False)
    case = random.random()
    cased = word.capitalize() if case < 0.12 else word.upper() if case < 0.18 else word
    return cased if len(cased) == len(word) else word


def _spell(random: Random, language: str) -> Exercise:
    """Spell a word, or a loanword in katakana as English has it."""
    if language == "ja" and random.random() < 0.6:
        katakana, english = random.choice(tuple(words.KATAKANA.items()))
        return random.choice(_SPELL["ja"]).format(katakana), "-".join(english), english
    word = _to_spell(random, "en" if language == "ja" else language)
    quoted = random.choice(("{}", '"{}"', "'{}'")).format(word)
    return random.choice(_SPELL[language]).format(quoted), spelled(word), word


def _spell_each(random: Random, language: str) -> Exercise:
    """Spell several words, one a line: the letters of many pieces in one exercise."""
    source = "en" if language == "ja" else language
    listed = [_to_spell(random, source) for _ in range(random.randint(3, 8))]
    told = random.choice((", ", " ", "\n")).join(listed)
    answer = "\n".join(f"{word}: {spelled(word)}" for word in listed)
    return random.choice(_SPELL_EACH[language]).format(told), answer, told


def _join(random: Random, language: str) -> Exercise:
    word = _to_spell(random, "en" if language == "ja" else language).lower()
    apart = random.choice(("-", " ", ", ")).join(word)
    return random.choice(_JOIN[language]).format(apart), word, apart


def _table(random: Random, language: str) -> dict[str, str]:
    make = random.choice((words.identifier, words.person_name, lambda r: _word(r, language)))
    return {make(random): snippet(random, language) for _ in range(random.randint(2, 5))}


def _look_up(random: Random, language: str) -> Exercise:
    """A value of a small table, written out as lines, as a list, or as JSON; backwards now and then."""
    table = _table(random, language)
    key = random.choice(list(table))
    written = random.choice(
        (
            ", ".join(f"{name}: {value}" for name, value in table.items()) + ".",
            "\n".join(f"{name} = {value}" for name, value in table.items()) + "\n",
            json.dumps(table, ensure_ascii=False),
            "; ".join(f"{name} is {value}" for name, value in table.items()) + ".",
        )
    )
    asked = random.choice(_LOOK_UP[language]).format(random.choice(("{}", '"{}"')).format(key))
    return f"{written} {asked}", table[key], f"{key}: {table[key]}"


def _nth(random: Random, language: str) -> Exercise:
    items = [snippet(random, language) for _ in range(random.randint(3, 6))]
    place = random.randrange(4)
    told = ", ".join(items)
    asked = random.choice(_NTH[language]).format(_ORDINALS[language][place], told)
    numbered = " ".join(f"{i} {item}" for i, item in enumerate(items, 1))
    return asked, items[-1 if place == 3 else place], numbered


def _as_json(random: Random, language: str) -> Exercise:
    """Names and values as one JSON object: text quoted, numbers and booleans bare."""
    table: dict[str, str | int | float | bool] = {}
    for name, told in _table(random, language).items():
        other = random.choice((random.randint(0, 9999), random.randint(1, 999) / 10, random.random() < 0.5))
        table[name] = told if random.random() < 0.6 and not _FIGURES.fullmatch(told) else other
    shown = (f"{name} = {str(value).lower() if isinstance(value, bool) else value}" for name, value in table.items())
    told = random.choice((", ", "; ")).join(shown)
    return random.choice(_AS_JSON[language]).format(told), json.dumps(table, ensure_ascii=False), told


_EXERCISES: tuple[tuple[Callable[[Random, str], Exercise], int], ...] = (
    (_repeat, 22),
    (_spell, 18),
    (_spell_each, 26),
    (_join, 6),
    (_look_up, 13),
    (_nth, 6),
    (_as_json, 9),
)


def _analysis(copied: str, scene: Scene) -> str:
    """Low effort goes straight to it; medium copies once, high twice."""
    if scene.effort is Effort.LOW:
        return _COPY[scene.thinking].format("").strip(" :") + "."
    once = _COPY[scene.thinking].format(copied)
    return once + _AGAIN[scene.thinking].format(copied) if scene.effort is Effort.HIGH else once


def copying(random: Random, *, held_out: bool) -> Drill:
    """One exercise. Its material is random, so both sides of the split are alike; nothing is scored by it."""
    language = pick_language(random)
    makers, weights = zip(*_EXERCISES, strict=True)
    (make,) = random.choices(makers, weights)
    question, answer, copied = make(random, language)
    setting = plain_scene(random)
    learned = [Message.analysis(_analysis(copied, setting)), Message.final(answer)]
    given = [Message.user(question)]
    return setting.drill("copying", language, given, learned, lambda seen: seen.final.strip() == answer)


SKILLS: dict[str, Skill] = {"copying": copying}
