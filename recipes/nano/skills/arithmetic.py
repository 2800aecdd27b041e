"""Arithmetic: sums, differences and products of up to three digits, divisions, small powers, and mixed expressions.

Held out by the expression, however it is worded; the digits' own facts are in every working.
"""

from __future__ import annotations

import re
from functools import partial
from random import Random

from recipes.nano import fractions, sums
from recipes.nano.drill import Drill, Skill
from recipes.nano.scene import FIRST_QUESTIONS, hurried, pick_language, roughen
from recipes.nano.skills import problem as problems
from recipes.nano.skills.beyond import fallback_reply
from recipes.nano.skills.problem import Problem
from recipes.nano.sums import Expression, Operation
from recipes.nano.words import is_held_out

_ALWAYS_HELD_OUT = frozenset({"2 + 2 × 3", "2 + 2"})
_SPELLINGS = {"×": ("×", "×", "*", "*", "x", "·"), "÷": ("÷", "÷", "/"), "-": ("-", "-", "-", "−"), "+": ("+",)}
_SIGN_WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {"+": ("plus",), "-": ("minus",), "×": ("times", "multiplied by"), "÷": ("divided by",)},
    "ja": {"+": ("たす", "足す"), "-": ("ひく", "引く"), "×": ("かける", "掛ける"), "÷": ("わる", "割る")},
    "fr": {"+": ("plus",), "-": ("moins",), "×": ("fois", "multiplié par"), "÷": ("divisé par",)},
    "de": {"+": ("plus",), "-": ("minus",), "×": ("mal",), "÷": ("geteilt durch", "durch")},
    "es": {"+": ("más",), "-": ("menos",), "×": ("por", "multiplicado por"), "÷": ("entre", "dividido entre")},
}
_QUESTIONS = {
    "en": (
        "What is {e}?",
        "What is {e}?",
        "What's {e}?",
        "Calculate {e}.",
        "Compute {e}.",
        "How much is {e}?",
        "Work out {e}.",
        "Evaluate {e}.",
        "Solve: {e}",
        "Can you calculate {e}?",
        "Tell me what {e} is.",
        "What does {e} equal?",
        "What do you get for {e}?",
        "Give me the result of {e}.",
        "I need the answer to {e}.",
    ),
    "ja": (
        "{e}は?",
        "{e}はいくつですか?",
        "{e}は何ですか?",
        "{e}を計算してください。",
        "{e}の答えは何ですか?",
        "{e}の答えを教えてください。",
        "{e}はいくらですか?",
        "計算してください: {e}",
    ),
    "fr": (
        "Combien font {e} ?",
        "Combien fait {e} ?",
        "Calcule {e}.",
        "Quel est le résultat de {e} ?",
        "Que vaut {e} ?",
        "Peux-tu calculer {e} ?",
        "Donne le résultat de {e}.",
        "{e}, ça fait combien ?",
    ),
    "de": (
        "Was ist {e}?",
        "Wie viel ist {e}?",
        "Wie viel ergibt {e}?",
        "Berechne {e}.",
        "Rechne {e} aus.",
        "Was ergibt {e}?",
        "Kannst du {e} berechnen?",
        "Was kommt bei {e} heraus?",
    ),
    "es": (
        "¿Cuánto es {e}?",
        "¿Cuánto es {e}?",
        "Calcula {e}.",
        "¿Cuál es el resultado de {e}?",
        "¿Qué resultado da {e}?",
        "¿Puedes calcular {e}?",
        "Dime cuánto es {e}.",
        "¿Cuánto da {e}?",
    ),
}
_BARE = ("{e} = ?", "{e} = ?", "{e} =", "{e}", "{e}", "{e}=?", "{e}=", "{e}?")
_NUMBER_WORDS = {
    language: tuple(listed.split())
    for language, listed in (
        ("en", "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"),
        ("ja", "ゼロ 一 二 三 四 五 六 七 八 九 十 十一 十二"),
        ("fr", "zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize"),
        ("de", "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn"),
        ("es", "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince"),
    )
}
_POWERS = {
    "en": ("{a} to the power of {b}", "{a} to the power {b}", "{a} raised to {b}"),
    "ja": ("{a}の{b}乗",),
    "fr": ("{a} puissance {b}", "{a} à la puissance {b}"),
    "de": ("{a} hoch {b}",),
    "es": ("{a} elevado a {b}", "{a} a la {b}"),
}
_SQUARES = {
    "en": "{a} squared",
    "ja": "{a}の二乗",
    "fr": "{a} au carré",
    "de": "{a} zum Quadrat",
    "es": "{a} al cuadrado",
}
_CUBES = {"en": "{a} cubed", "ja": "{a}の三乗", "fr": "{a} au cube", "de": "{a} hoch drei", "es": "{a} al cubo"}
_HIGHEST = {0: 3, 1: 5, 2: 12, 3: 6, 4: 5, 5: 5, 10: 6, 11: 3, 12: 3}
"""The highest exponent of a base; 4 for other digits, 2 for numbers of two digits."""
_ONE_OPERATION = {
    "en": {
        "+": ("Add {a} and {b}.", "What is the sum of {a} and {b}?", "Add {b} to {a}."),
        "-": ("Subtract {b} from {a}.", "Take {b} away from {a}."),
        "×": ("Multiply {a} by {b}.", "What is the product of {a} and {b}?", "Multiply {a} and {b}."),
        "÷": ("Divide {a} by {b}.",),
    },
    "ja": {
        "+": ("{a}と{b}の和は?", "{a}と{b}を足してください。", "{a}に{b}を足すといくつですか?"),
        "-": ("{a}から{b}を引いてください。", "{a}から{b}を引くといくつですか?"),
        "×": ("{a}と{b}の積は?", "{a}に{b}を掛けるといくつですか?"),
        "÷": ("{a}を{b}で割るといくつですか?",),
    },
    "fr": {
        "+": ("Additionne {a} et {b}.", "Quelle est la somme de {a} et {b} ?"),
        "-": ("Soustrais {b} de {a}.", "Enlève {b} à {a}."),
        "×": ("Multiplie {a} par {b}.", "Quel est le produit de {a} et {b} ?"),
        "÷": ("Divise {a} par {b}.",),
    },
    "de": {
        "+": ("Addiere {a} und {b}.", "Was ist die Summe von {a} und {b}?"),
        "-": ("Subtrahiere {b} von {a}.", "Ziehe {b} von {a} ab."),
        "×": ("Multipliziere {a} mit {b}.", "Was ist das Produkt von {a} und {b}?"),
        "÷": ("Teile {a} durch {b}.",),
    },
    "es": {
        "+": ("Suma {a} y {b}.", "¿Cuál es la suma de {a} y {b}?"),
        "-": ("Resta {b} de {a}.", "Réstale {b} a {a}."),
        "×": ("Multiplica {a} por {b}.", "¿Cuál es el producto de {a} y {b}?"),
        "÷": ("Divide {a} entre {b}.",),
    },
}


def _number(random: Random, lengths: tuple[int, ...]) -> int:
    """A number whose count of digits is drawn from lengths."""
    length = random.choice(lengths)
    return random.randint(10 ** (length - 1) if length > 1 else 0, 10**length - 1)


def _one_operation(random: Random) -> Operation:
    sign = random.choices("+-×÷", (27, 23, 31, 19))[0]
    match sign:
        case "×":
            left = _number(random, (1, 2, 2, 3, 3))
            lengths = (1, 2, 2, 3) if left > 99 else (1, 2, 3)
            return Operation(left, sign, _number(random, lengths))
        case "÷":
            divisor = random.choice((2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15, 20, 25))
            return Operation(divisor * random.randint(1, 999 // divisor), sign, divisor)
    return Operation(_number(random, (1, 2, 2, 3, 3)), sign, _number(random, (1, 2, 2, 3, 3)))


def _tree(random: Random, n_numbers: int) -> Expression:
    if n_numbers == 1:
        return _number(random, (1, 1, 1, 1, 2, 2, 2, 2, 3))
    n_left = random.choice((1, n_numbers - 1, random.randint(1, n_numbers - 1)))
    sign = random.choices("+-×÷", (35, 25, 35, 5))[0]
    return Operation(_tree(random, n_left), sign, _tree(random, n_numbers - n_left))


def _is_workable(expression: Expression) -> bool:
    """Whether the working stays short: no negative right sides, small factors, divisions that come out even."""
    if isinstance(expression, int):
        return True
    if not (_is_workable(expression.left) and _is_workable(expression.right)):
        return False
    left, right = sums.value(expression.left), sums.value(expression.right)
    match expression.sign:
        case "×":
            return min(left, right) >= 0 and left * right <= 9801
        case "÷":
            return 2 <= right <= 9 and 0 <= left <= 999 and left % right == 0
    return right >= 0


def _mixed(random: Random) -> Operation:
    n_numbers = random.choice((3, 3, 3, 3, 4))
    while True:
        expression = _tree(random, n_numbers)
        if isinstance(expression, Operation) and _is_workable(expression):
            return expression


def expression(random: Random, *, held_out: bool) -> Operation:
    """One operation or, four times in ten, several, on the asked side of the split."""
    while True:
        made = _mixed(random) if random.random() < 0.4 else _one_operation(random)
        key = sums.text(made)
        if (is_held_out(key) or key in _ALWAYS_HELD_OUT) == held_out:
            return made


def _with_signs(random: Random, plain: str) -> str:
    """The expression as it is typed: other signs, no spaces; one spelling of each sign per question."""
    for sign, spellings in _SPELLINGS.items():
        spelling = random.choice(spellings)
        plain = plain.replace(f" {sign} ", f" {spelling} ")
    return plain.replace(" ", "") if random.random() < 0.25 and " x " not in plain else plain


def _with_words(random: Random, plain: str, language: str) -> str:
    space = "" if language == "ja" else " "
    for sign, spelled in _SIGN_WORDS[language].items():
        plain = plain.replace(f" {sign} ", f"{space}{random.choice(spelled)}{space}")
    return plain


def _are_small(made: Operation, language: str) -> bool:
    """Can every number of one operation be written as a word?"""
    return all(isinstance(n, int) and n < len(_NUMBER_WORDS[language]) for n in (made.left, made.right))


def _in_words(plain: str, language: str) -> str:
    """Every number of the expression as a word: "five plus three"."""
    numbers = _NUMBER_WORDS[language]
    return re.sub(r"\d+", lambda found: numbers[int(found.group())], plain)


def _question(random: Random, made: Operation, language: str) -> str:
    plain = sums.text(made)
    chance = random.random()
    is_one = isinstance(made.left, int) and isinstance(made.right, int)
    if is_one and chance < 0.15:
        return random.choice(_ONE_OPERATION[language][made.sign]).format(a=made.left, b=made.right)
    if "(" not in plain and chance < 0.4:
        worded = _with_words(random, plain, language)
        if _are_small(made, language) and random.random() < 0.4:
            worded = _in_words(worded, language)
        return random.choice((*_QUESTIONS[language], "{e}", "{e}?")).format(e=worded)
    typed = _with_signs(random, plain)
    return random.choice(_BARE if chance > 0.75 else _QUESTIONS[language]).format(e=typed)


def _typed(random: Random, question: str, language: str) -> str:
    return hurried(random, roughen(random, question, language), language)


def whole_problem(random: Random, language: str, *, held_out: bool) -> Problem:
    """An expression that comes to a whole number."""
    question = None
    while question is None or (question in FIRST_QUESTIONS and not held_out):
        made = expression(random, held_out=held_out)
        question = _typed(random, _question(random, made, language), language)
    plain, result = sums.text(made), sums.value(made)
    return Problem(
        language,
        question,
        partial(sums.working, made),
        f"{plain} = {result}",
        lambda text: problems.last_number(text) == result,
        plain,
    )


def _tells(text: str, result: str) -> bool:
    """Is this the last number, decimals and all, of a text?"""
    found = re.findall(r"-?\d+(?:[.,]\d+)*", text)
    return bool(found) and found[-1].replace(",", ".") == result


def _uneven(random: Random, language: str, *, held_out: bool) -> Problem:
    """A division that does not come out even: exact where it ends within three decimals, else honestly beyond nano."""
    while True:
        divisor = random.choice((2, 2, 3, 4, 4, 5, 5, 6, 7, 8, 8, 9, 10, 12, 16, 20, 25))
        dividend = _number(random, (1, 1, 2, 2, 3))
        made = Operation(dividend, "÷", divisor)
        plain = sums.text(made)
        if dividend % divisor and is_held_out(plain) == held_out:
            break
    result = fractions.quotient(dividend, divisor)
    question = _typed(random, _question(random, made, language), language)
    working = partial(fractions.division, dividend, divisor)
    if result is None:
        if not re.search(r"[^\W\d_]{2}|[ぁ-ん]", question):
            language = "en"
        reply = fallback_reply(language)
        return Problem(language, question, working, reply, lambda text: text.strip() == reply, plain)
    return Problem(language, question, working, f"{plain} = {result}", lambda text: _tells(text, result), plain)


def _power_question(random: Random, base: int, exponent: int, language: str) -> str:
    chance = random.random()
    signs: tuple[str, ...] = (f"{base}^{exponent}", f"{base}^{exponent}", f"{base} ^ {exponent}", f"{base}**{exponent}")
    spelled = random.choice(_POWERS[language])
    if exponent in (2, 3):
        signs += (f"{base}{'²³'[exponent - 2]}",)
        spelled = random.choice((spelled, (_SQUARES, _CUBES)[exponent - 2][language]))
    typed = random.choice(signs) if chance < 0.55 else spelled.format(a=base, b=exponent)
    return random.choice((*_QUESTIONS[language], *_BARE[:6])).format(e=typed)


def _power(random: Random, language: str, *, held_out: bool) -> Problem:
    """A small power. Those of 2, 3 and 10 are facts to know; the split is by base and exponent all the same."""
    while True:
        base = random.choice((*range(13), *range(2, 11), 2, 2, 2, 3, 10, random.randint(13, 30)))
        exponent = random.randint(0 if random.random() < 0.15 else 2, _HIGHEST.get(base, 4 if base < 10 else 2))
        plain = f"{base}^{exponent}"
        if (base or exponent) and is_held_out(plain) == held_out:
            break
    result = base**exponent
    return Problem(
        language,
        _typed(random, _power_question(random, base, exponent, language), language),
        partial(fractions.power, base, exponent),
        f"{plain} = {result}",
        lambda text: problems.last_number(text) == result,
        plain,
    )


def problem(random: Random, language: str, *, held_out: bool) -> Problem:
    """An expression to work out, now and then an uneven division or a power."""
    while True:
        (make,) = random.choices((whole_problem, _uneven, _power), (80, 12, 8))
        made = make(random, language, held_out=held_out)
        if held_out or made.question not in FIRST_QUESTIONS:
            return made


def arithmetic(random: Random, *, held_out: bool) -> Drill:
    """What does an expression come to?"""
    return problems.drill(random, "arithmetic", problem(random, pick_language(random), held_out=held_out))


SKILLS: dict[str, Skill] = {"arithmetic": arithmetic}
