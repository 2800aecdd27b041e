"""Counting letters in words: the word is spelled first, then its letters are looked through.

Held out by the word; a loanword in katakana by the word with its letter, since its English spelling is a fact to know.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import partial
from random import Random

from harmonium.harmony.messages import Effort
from recipes.nano import words
from recipes.nano.drill import Drill, Skill
from recipes.nano.pieces import pieced_word
from recipes.nano.scene import FIRST_QUESTIONS, pick_language, roughen
from recipes.nano.skills import problem as problems
from recipes.nano.skills.problem import Problem

_ALPHABET = "abcdefghijklmnopqrstuvwxyz"
_VOWELS = "aeiou"
_QUOTES = {
    "en": ("'{}'", "'{}'", '"{}"', '"{}"', "“{}”", "‘{}’", "{}", "`{}`"),
    "ja": ("「{}」", "「{}」", "『{}』", '"{}"', "'{}'", "{}"),
    "fr": ("'{}'", "'{}'", '"{}"', "« {} »", "« {} »", "“{}”", "{}"),
    "de": ("„{}“", "„{}“", '"{}"', "'{}'", "»{}«", "{}"),
    "es": ("«{}»", "'{}'", '"{}"', '"{}"', "“{}”", "{}"),
}
_PLURALS = ("{}", "{}'s", "{}'s", "{}s", "'{}'s", '"{}"s', "letters {}", "letters '{}'", "{} letters", "'{}' letters")
_LETTERS = {
    "en": ("{}", "'{}'", '"{}"', "letter {}", "letter '{}'", "the letter {}", "the letter '{}'", 'the letter "{}"'),
    "ja": ("{}", "{}", "「{}」", "'{}'", "文字{}", "文字「{}」"),
    "fr": ("{}", "'{}'", "'{}'", "« {} »", '"{}"'),
    "de": ("{}", "'{}'", "„{}“", '"{}"'),
    "es": ("{}", "'{}'", "«{}»", '"{}"'),
}
_QUESTIONS = {
    # s: the letter in the plural. l: the letter. w: the word.
    "en": (
        "How many {s} are in the word {w}?",
        "How many {s} are in the word {w}?",
        "How many {s} are in {w}?",
        "How many {s} in {w}?",
        "How many {s} in the word {w}?",
        "How many {s} are there in {w}?",
        "How many {s} are there in the word {w}?",
        "How many {s} does {w} have?",
        "How many {s} does the word {w} contain?",
        "How many {s} do you see in {w}?",
        "How many {s} can be found in {w}?",
        "How many times does {l} appear in {w}?",
        "How many times does {l} occur in the word {w}?",
        "How often does {l} occur in {w}?",
        "Count the {s} in {w}.",
        "Count {l} in {w}.",
        "Can you count the {s} in the word {w}?",
        "In the word {w}, how many {s} are there?",
        "What is the number of {s} in {w}?",
        "Tell me how many {s} the word {w} has.",
        "I need the number of {s} in {w}.",
        "{w}: how many {s}?",
        "{w} how many {s}?",
        "how many {s} in {w}",
        "how many times is {l} in {w}",
        "Number of {s} in {w}?",
        "Find how many times {l} shows up in {w}.",
        "The word is {w}. How many {s} does it have?",
        "Look at the word {w}. How many times do you see {l}?",
    ),
    "ja": (
        "{w}という単語には{l}が何個含まれていますか?",
        "{w}という単語に{l}は何個ありますか?",
        "{w}には{l}がいくつありますか?",
        "{w}に{l}は何個ありますか?",
        "{w}の中に{l}はいくつ含まれていますか?",
        "単語{w}に{l}は何回出てきますか?",
        "{w}に出てくる{l}の数を数えてください。",
        "{w}の{l}を数えてください。",
        "{w}という言葉の中の{l}の数は?",
        "{w}に含まれる{l}の個数を教えてください。",
        "{w}に{l}は何文字ある?",
        "{l}は{w}に何個ありますか?",
    ),
    "fr": (
        "Combien de lettres {l} y a-t-il dans le mot {w}?",
        "Combien de lettres {l} y a-t-il dans le mot {w} ?",
        "Combien de {l} y a-t-il dans {w} ?",
        "Combien y a-t-il de {l} dans le mot {w} ?",
        "Combien de {l} contient le mot {w} ?",
        "Combien de fois la lettre {l} apparaît-elle dans {w} ?",
        "Combien de fois trouve-t-on {l} dans le mot {w} ?",
        "Compte les {l} dans {w}.",
        "Compte les lettres {l} du mot {w}.",
        "Le mot {w} contient combien de {l} ?",
        "Quel est le nombre de {l} dans {w} ?",
        "Dans le mot {w}, combien de {l} y a-t-il ?",
    ),
    "de": (
        "Wie viele {l} sind in dem Wort {w}?",
        "Wie viele {l} sind im Wort {w}?",
        "Wie viele {l} gibt es in {w}?",
        "Wie viele {l} hat das Wort {w}?",
        "Wie viele {l} enthält {w}?",
        "Wie oft kommt der Buchstabe {l} in {w} vor?",
        "Wie oft kommt {l} im Wort {w} vor?",
        "Zähle die {l} in {w}.",
        "Zähle die Buchstaben {l} im Wort {w}.",
        "Wie viele Buchstaben {l} hat {w}?",
        "Wie oft steht {l} in dem Wort {w}?",
        "Im Wort {w}: wie viele {l} gibt es?",
    ),
    "es": (
        "¿Cuántas {l} hay en la palabra {w}?",
        "¿Cuántas {l} hay en {w}?",
        "¿Cuántas letras {l} hay en la palabra {w}?",
        "¿Cuántas letras {l} tiene {w}?",
        "¿Cuántas {l} tiene la palabra {w}?",
        "¿Cuántas veces aparece la letra {l} en {w}?",
        "¿Cuántas veces aparece {l} en la palabra {w}?",
        "Cuenta las {l} de {w}.",
        "Cuenta las letras {l} en la palabra {w}.",
        "En la palabra {w}, ¿cuántas {l} hay?",
        "¿Qué número de {l} contiene {w}?",
        "Dime cuántas {l} hay en {w}.",
    ),
}
_LENGTH_QUESTIONS = {
    "en": (
        "How many letters are in {w}?",
        "How many letters in {w}?",
        "How many letters are in the word {w}?",
        "How long is the word {w}?",
        "How many letters does {w} have?",
    ),
    "ja": ("{w}は何文字ですか?", "{w}という単語の文字数は?"),
    "fr": ("Combien de lettres y a-t-il dans {w} ?", "Combien de lettres a le mot {w} ?"),
    "de": ("Wie viele Buchstaben hat {w}?", "Wie lang ist das Wort {w}?"),
    "es": ("¿Cuántas letras tiene {w}?", "¿Cuántas letras hay en la palabra {w}?"),
}
_VOWEL_QUESTIONS = (
    "How many vowels are in {w}?",
    "How many vowels does the word {w} have?",
    "Count the vowels in {w}.",
)
_SPELLED = {
    "en": "{} is spelled {}. ",
    "ja": "{}の綴りは{}。",
    "fr": "{} s'écrit {}. ",
    "de": "{} schreibt man {}. ",
    "es": "{} se escribe {}. ",
}
_AT = {
    "en": ("{l} at {at}", "{l} nowhere"),
    "ja": ("{l}は{at}番目", "{l}はなし"),
    "fr": ("{l} en {at}", "{l} nulle part"),
    "de": ("{l} an {at}", "{l} nirgends"),
    "es": ("{l} en {at}", "{l} en ninguna"),
}
_SO = {"en": ", so {}.", "ja": "、よって{}個。", "fr": ", donc {}.", "de": ", also {}.", "es": ", así que {}."}
_NUMBERED = {"en": "Numbered", "ja": "番号順", "fr": "Numérotées", "de": "Nummeriert", "es": "Numeradas"}
_CHECK = {"en": " Check: ", "ja": "確認: ", "fr": " Vérification : ", "de": " Probe: ", "es": " Comprobación: "}
_LETTER_NAMES = {"en": "letters", "ja": "文字", "fr": "lettres", "de": "Buchstaben", "es": "letras"}
_FINALS_OF_KINDS = {
    "en": 'There are {n} {kind} in "{word}".',
    "ja": "「{word}」に含まれる{kind}は{n}個です。",
    "fr": "Il y a {n} {kind} dans « {word} ».",
    "de": "In „{word}“ sind {n} {kind}.",
    "es": "Hay {n} {kind} en «{word}».",
}
_VOWEL_NAMES = {"en": "vowels", "ja": "母音", "fr": "voyelles", "de": "Vokale", "es": "vocales"}


@dataclass(frozen=True)
class Count:
    """What is counted where. shown: the word as the question has it; spelling: its letters in lower case.

    wanted: the letters that count. labels: how the analysis calls them, per language; empty for a letter, which is its
    own name.
    """

    shown: str
    spelling: str
    wanted: str
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def positions(self) -> list[int]:
        """Where they are, counted from 1."""
        return [i for i, letter in enumerate(self.spelling, 1) if letter in self.wanted]

    def label(self, language: str) -> str:
        return dict(self.labels).get(language, self.wanted)


def _tally(count: Count) -> str:
    """The spelled word with a running count behind every letter that counts."""
    seen, spelled = 0, []
    for letter in count.spelling:
        seen += letter in count.wanted
        spelled.append(f"{letter}{seen}" if letter in count.wanted else letter)
    return "-".join(spelled)


def analysis(count: Count, thinking: str, effort: Effort) -> str:
    """Spell and count: low with a running count, medium by the positions, high numbered, by positions and checked."""
    opening = "" if count.spelling == count.shown.lower() else _SPELLED[thinking].format(count.shown, count.spelling)
    so = _SO[thinking].format(len(count.positions))
    if effort is Effort.LOW:
        return opening + _tally(count) + so
    comma = "、" if thinking == "ja" else ", "
    somewhere, nowhere = _AT[thinking]
    at = comma.join(map(str, count.positions))
    found = (somewhere if at else nowhere).format(l=count.label(thinking), at=at) + so
    spelled = opening + "-".join(count.spelling)
    if effort is Effort.MEDIUM:
        return f"{spelled}: {found}"
    numbered = ", ".join(f"{i} {letter}" for i, letter in enumerate(count.spelling, 1))
    return f"{spelled}. {_NUMBERED[thinking]}: {numbered}: {found}{_CHECK[thinking]}{_tally(count)}{so}"


def final(count: Count, language: str) -> str:
    """The answer in a sentence; the word stands in it as it was asked."""
    n, word, letter = len(count.positions), count.shown, count.wanted
    if count.labels:
        return _FINALS_OF_KINDS[language].format(n=n, word=word, kind=count.label(language))
    match language:
        case "ja":
            return f"「{word}」に含まれる{letter}は{n}個です。"
        case "fr":
            return f"Il y a {n} fois la lettre {letter} dans « {word} »."
        case "de":
            return f"Der Buchstabe {letter} kommt in „{word}“ {n}-mal vor."
        case "es":
            return f"La letra {letter} aparece {n} {'vez' if n == 1 else 'veces'} en «{word}»."
    return f'There is 1 {letter} in "{word}".' if n == 1 else f'There are {n} {letter}\'s in "{word}".'


def _base(letter: str) -> str:
    """A letter without its accent."""
    return unicodedata.normalize("NFD", letter)[0]


def letter_of(random: Random, spelling: str) -> str:
    """A letter to count: often one that repeats, mostly one that occurs, never one that also occurs with an accent."""
    letters = set(spelling)
    twins = {letter for letter in letters for other in letters if letter != other and _base(letter) == _base(other)}
    clear = [letter for letter in spelling if letter not in twins]
    repeated = [letter for letter in clear if spelling.count(letter) > 1]
    most = max(map(spelling.count, clear), default=0)
    chance = random.random()
    if repeated and chance < 0.5:
        return random.choice([letter for letter in repeated if random.random() < 0.3 or spelling.count(letter) == most])
    if clear and chance < 0.82:
        return random.choice(clear)
    bases = {_base(letter) for letter in letters if letter not in _ALPHABET}
    return random.choice([letter for letter in _ALPHABET if letter not in bases])


def _few_letters(random: Random, shortest: int, longest: int) -> str:
    """Letters in which some come back again and again."""
    letters = random.sample(_ALPHABET, random.randint(2, 5))
    return "".join(random.choices(letters, k=random.randint(shortest, longest)))


def word_for(random: Random, language: str, *, held_out: bool) -> str:
    """A word to look at: listed, put together of pieces, made up, or letters without order; seldom over 16 letters."""
    source = "en" if language == "ja" else language
    listed = words.held_out_words if held_out else words.train_words
    chance = random.random()
    if chance < 0.36:
        return random.choice(listed(source))
    if chance < 0.52:
        return random.choice(listed("en"))
    if chance < 0.57:
        return random.choice(listed(random.choice(("en", "fr", "de", "es"))))
    if chance < 0.72:
        flavor = random.choice((source, source, "en", *words.LANGUAGES))
        longest = 18 if random.random() < 0.1 else 14
        return words.made_up(partial(words.pseudo_word, random, flavor, 3, longest), held_out=held_out)
    if chance < 0.86:
        longest = 30 if random.random() < 0.12 else 16
        return words.made_up(partial(pieced_word, random, 3, longest), held_out=held_out)
    make = _few_letters if chance < 0.92 else words.random_letters
    longest = 26 if random.random() < 0.1 else 12
    return words.made_up(partial(make, random, 3, longest), held_out=held_out)


def _katakana(random: Random, *, held_out: bool) -> Count:
    """A loanword with a letter whose pair is on the asked side; how often strawberry has an r is never trained."""
    while True:
        shown = random.choice(tuple(words.KATAKANA))
        spelling = words.KATAKANA[shown]
        letter = letter_of(random, spelling)
        if (words.is_held_out(f"{shown} {letter}") or (spelling, letter) == ("strawberry", "r")) == held_out:
            return Count(shown, spelling, letter)


def _wanted(random: Random, language: str, *, held_out: bool) -> Count:
    if language == "ja" and random.random() < 0.4:
        return _katakana(random, held_out=held_out)
    word = word_for(random, language, held_out=held_out)
    spelling = word.lower()
    chance = random.random()
    if chance < 0.04:
        word = word.upper() if len(word.upper()) == len(word) else word
    elif chance < 0.1:
        word = word.capitalize()
    kind = random.random()
    if kind < 0.05:
        return Count(word, spelling, "".join(sorted(set(spelling))), tuple(_LETTER_NAMES.items()))
    if kind < 0.1 and language == "en" and spelling.isascii() and "y" not in spelling:
        return Count(word, spelling, _VOWELS, tuple(_VOWEL_NAMES.items()))
    return Count(word, spelling, letter_of(random, spelling))


def _question(random: Random, count: Count, language: str) -> str:
    quotes = random.choice(_QUOTES[language])
    word = quotes.format(count.shown)
    if count.labels == tuple(_VOWEL_NAMES.items()):
        return random.choice(_VOWEL_QUESTIONS).format(w=word)
    if count.labels:
        return random.choice(_LENGTH_QUESTIONS[language]).format(w=word)
    letter = count.wanted.upper() if random.random() < 0.12 else count.wanted
    plural = random.choice(_PLURALS).format(letter)
    return random.choice(_QUESTIONS[language]).format(
        l=random.choice(_LETTERS[language]).format(letter), s=plural, w=word
    )


def problem(random: Random, language: str, *, held_out: bool) -> Problem:
    """A word and a letter (now and then all letters, or the vowels) to count in it."""
    question = None
    while question is None or (question in FIRST_QUESTIONS and not held_out):
        count = _wanted(random, language, held_out=held_out)
        question = roughen(random, _question(random, count, language), language)
    n = len(count.positions)
    return Problem(
        language,
        question,
        partial(analysis, count),
        final(count, language),
        lambda text: problems.only_number(text) == n,
        f"{count.shown} {count.wanted}",
    )


def counting(random: Random, *, held_out: bool) -> Drill:
    """How many of a letter are in a word."""
    return problems.drill(random, "counting", problem(random, pick_language(random), held_out=held_out))


SKILLS: dict[str, Skill] = {"counting": counting}
