"""The builtin python tool: say what to compute, compute it in a line or two of Python, read the printed result out.

Weekdays and spans of dates, arithmetic too long to do in the head, lengths and reversals of strings. The tool's
output is computed here by the same expression; nothing is executed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random

from harmonium.harmony.messages import Channel, Effort, Message
from recipes.nano.drill import Answer, Drill, Skill
from recipes.nano.scene import FIRST_QUESTIONS, Scene, pick_language, roughen, scene
from recipes.nano.skills.bases import uncalled
from recipes.nano.skills.problem import last_number
from recipes.nano.wordings import load
from recipes.nano.words import is_held_out, pseudo_word

_WORDS = load("python")
WEEKDAYS, MONTHS = _WORDS["weekdays"], _WORDS["months"]
_FIRST_DATE = date(3050, 1, 1)
"""The date of a question people meet first: never trained on."""


@dataclass(frozen=True)
class _Task:
    """values: what the wordings of every language are filled with. answer: what the tool prints."""

    kind: str
    values: dict[str, object]
    code: str
    answer: str


def _days(random: Random) -> date:
    """A date of any year with four digits, half of the time near our own."""
    first = date(1900, 1, 1) if random.random() < 0.5 else date(1000, 1, 1)
    last = date(2100, 12, 31) if first.year == 1900 else date(9999, 12, 31)
    return first + timedelta(days=random.randrange((last - first).days - 2))


def _weekday(random: Random) -> _Task:
    day = _days(random)
    code = f"import datetime\nprint(datetime.date({day.year}, {day.month}, {day.day}).strftime('%A'))"
    values: dict[str, object] = {"iso": day.isoformat(), "day": day}
    return _Task("weekday", values, code, WEEKDAYS["en"][day.weekday()])


def _span(random: Random) -> _Task:
    first = _days(random)
    last = first + timedelta(days=random.randrange(2, min(4000, (date.max - first).days)))
    subtraction = " - ".join(f"datetime.date({day.year}, {day.month}, {day.day})" for day in (last, first))
    values: dict[str, object] = {"iso": first.isoformat(), "day": first, "last_iso": last.isoformat(), "last_day": last}
    return _Task("span", values, f"import datetime\nprint(({subtraction}).days)", str((last - first).days))


def _number(random: Random, low: int, high: int) -> int:
    """A number whose count of digits is between low and high."""
    n_digits = random.randint(low, high)
    return random.randrange(10 ** (n_digits - 1), 10**n_digits)


def _binary(kind: str, sign: str, a: int, b: int, answer: int) -> _Task:
    return _Task(kind, {"a": a, "b": b}, f"print({a} {sign} {b})", str(answer))


def _product(random: Random) -> _Task:
    a, b = _number(random, 4, 9), _number(random, 3, 7)
    return _binary("product", "*", a, b, a * b)


def _power(random: Random) -> _Task:
    a, b = random.randint(2, 99), random.randint(4, 30)
    b = min(b, int(24 / math.log10(a)))
    return _binary("power", "**", a, b, a**b)


def _addition(random: Random) -> _Task:
    a, b = _number(random, 6, 14), _number(random, 6, 14)
    return _binary("addition", "+", a, b, a + b)


def _subtraction(random: Random) -> _Task:
    a, b = _number(random, 9, 14), _number(random, 6, 9)
    return _binary("subtraction", "-", a, b, a - b)


def _remainder(random: Random) -> _Task:
    a, b = _number(random, 6, 12), _number(random, 2, 4)
    return _binary("remainder", "%", a, b, a % b)


def _divisor(random: Random) -> _Task:
    common = random.randint(2, 99)
    a, b = common * random.randint(20, 9999), common * random.randint(20, 9999)
    values: dict[str, object] = {"a": a, "b": b}
    return _Task("divisor", values, f"import math\nprint(math.gcd({a}, {b}))", str(math.gcd(a, b)))


def _total(random: Random) -> _Task:
    a = 1 if random.random() < 0.6 else random.randint(2, 5000)
    b = a + random.randint(30, 50000)
    values: dict[str, object] = {"a": a, "b": b}
    return _Task("total", values, f"print(sum(range({a}, {b + 1})))", str((a + b) * (b - a + 1) // 2))


def _squares(random: Random) -> _Task:
    a = random.randint(10, 9999)
    answer = a * (a + 1) * (2 * a + 1) // 6
    return _Task("squares", {"a": a}, f"print(sum(n * n for n in range(1, {a + 1})))", str(answer))


def _factorial(random: Random) -> _Task:
    a = random.randint(7, 25)
    return _Task("factorial", {"a": a}, f"import math\nprint(math.factorial({a}))", str(math.factorial(a)))


def _text(random: Random) -> str:
    """One to three made-up words."""
    return " ".join(pseudo_word(random) for _ in range(random.choice((1, 1, 1, 2, 3))))


def _length(random: Random) -> _Task:
    text = _text(random)
    return _Task("length", {"text": text}, f'print(len("{text}"))', str(len(text)))


def _reversal(random: Random) -> _Task:
    text = _text(random)
    return _Task("reversal", {"text": text}, f'print("{text}"[::-1])', text[::-1])


_TASKS: tuple[tuple[Callable[[Random], _Task], int], ...] = (
    (_weekday, 12),
    (_span, 3),
    (_product, 4),
    (_power, 3),
    (_addition, 3),
    (_subtraction, 2),
    (_remainder, 2),
    (_divisor, 1),
    (_total, 2),
    (_squares, 1),
    (_factorial, 1),
    (_length, 2),
    (_reversal, 3),
)
_BUILDERS = [builder for builder, _ in _TASKS]
_WEIGHTS = [weight for _, weight in _TASKS]


def _draw(random: Random, held_out: bool) -> _Task:
    """A task of the wanted side: sides are told apart by the code that solves it."""
    builder = random.choices(_BUILDERS, _WEIGHTS)[0]
    while True:
        task = builder(random)
        if is_held_out(task.code) == held_out and task.values.get("day") != _FIRST_DATE:
            return task


def _date_text(day: date, language: str, random: Random | None) -> str:
    """A date as a language writes it; without random, the one form used in answers."""
    month = MONTHS[language][day.month - 1]
    if language == "ja":
        forms = [f"{day.year}年{month}{day.day}日", f"{day.year}年の{month}{day.day}日"]
        forms.append(f"{day.year}/{day.month}/{day.day}")
    elif language == "fr":
        forms = [f"{'1er' if day.day == 1 else day.day} {month} {day.year}"]
    elif language == "de":
        forms = [f"{day.day}. {month} {day.year}", f"{day.day:02}.{day.month:02}.{day.year}"]
        forms.append(f"{day.day}.{day.month}.{day.year}")
    elif language == "es":
        forms = [f"{day.day} de {month} de {day.year}", f"{day.day} de {month} del {day.year}"]
    else:
        forms = [
            f"{month} {day.day}, {day.year}",
            f"{day.day} {month} {day.year}",
            f"{month[:3]} {day.day}, {day.year}",
        ]
        forms.append(f"{month} {_ordinal(day.day)}, {day.year}")
    if random is None:
        return forms[0]
    return day.isoformat() if random.random() < 0.15 else random.choice(forms)


def _ordinal(number: int) -> str:
    suffix = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 if number not in (11, 12, 13) else 0, "th")
    return f"{number}{suffix}"


def _filled(values: dict[str, object], language: str, random: Random | None) -> dict[str, object]:
    """The values with dates written in a language."""
    dates = {name: value for name, value in values.items() if isinstance(value, date)}
    return {**values, **{name: _date_text(day, language, random) for name, day in dates.items()}}


def _analysis(task: _Task, place: Scene) -> str:
    """What to compute: low names it, medium says that python does it, high names the steps too."""
    goal = _WORDS[f"{task.kind}: thought"][place.thinking][0].format(**task.values)
    goal = goal[0].upper() + goal[1:]
    if place.effort is Effort.LOW:
        return f"{goal}."
    return f"{goal}. {_WORDS[place.effort][place.thinking][0]}"


def _reading(task: _Task, place: Scene, language: str) -> list[Message]:
    """What the output means: needed where a weekday changes its language, and always at high effort."""
    shown = task.answer
    if task.kind == "weekday" and language != "en":
        shown = f"{task.answer} = {WEEKDAYS[language][WEEKDAYS['en'].index(task.answer)]}"
    elif place.effort is not Effort.HIGH:
        return []
    if place.effort is Effort.HIGH:
        shown = _WORDS["output"][place.thinking][0].format(output=shown)
    return [Message.analysis(f"{shown}.")]


def python(random: Random, *, held_out: bool) -> Drill:
    """A question that one run of Python answers; now and then one that needs none."""
    language = pick_language(random)
    tools = ("python",) if random.random() < 0.85 else ("browser", "python")
    if random.random() < 0.07:
        return uncalled(random, "python", language, tools, held_out=held_out)
    task = _draw(random, held_out)
    while True:
        question = random.choice(_WORDS[task.kind][language]).format(**_filled(task.values, language, random))
        question = roughen(random, question, language)
        if question not in FIRST_QUESTIONS:
            break
    place = scene(random, builtin_tools=tools)
    answer = task.answer
    if task.kind == "weekday":
        answer = WEEKDAYS[language][WEEKDAYS["en"].index(task.answer)]
    final = _WORDS[f"{task.kind}: reply"][language][0].format(**_filled(task.values, language, None), answer=answer)
    output = task.answer + ("\n" if random.random() < 0.7 else "")
    learned = [
        Message.analysis(_analysis(task, place)),
        Message.builtin_call("python", task.code),
        Message.tool("python", output, channel=Channel.ANALYSIS),
        *_reading(task, place, language),
        Message.final(final),
    ]
    return place.drill("python", language, [Message.user(question)], learned, _judge(language, answer))


def _judge(language: str, answer: str) -> Callable[[Answer], bool]:
    """Right when the weekday is in the final text and no other is, the number is the last one, or the text is there."""
    weekdays = WEEKDAYS[language]

    def judge(given: Answer) -> bool:
        if answer in weekdays:
            return [name for name in weekdays if name in given.final] == [answer]
        if answer.lstrip("-").isdigit():
            return last_number(given.final) == int(answer)
        return re.search(rf"(?<![a-z]){re.escape(answer)}(?![a-z])", given.final) is not None

    return judge


SKILLS: dict[str, Skill] = {"python": python}
