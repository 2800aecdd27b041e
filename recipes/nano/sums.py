"""Arithmetic in steps that are each easy: columns of digits with carries, partial products, one operation at a time.

Only the working is made here, in the language of reasoning; asking and judging is skills/arithmetic.py's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harmonium.harmony.messages import Effort

CARRY = {"en": "carry", "ja": "繰り上がり", "fr": "retenue", "de": "Übertrag", "es": "llevo"}
BORROW = {"en": "borrow", "ja": "繰り下がり", "fr": "emprunt", "de": "geborgt", "es": "presto"}
SO = {"en": ", so {}.", "ja": "、よって{}。", "fr": ", donc {}.", "de": ", also {}.", "es": ", así que {}."}
CHECK = {"en": " Check: ", "ja": "確認: ", "fr": " Vérification : ", "de": " Probe: ", "es": " Comprobación: "}


@dataclass(frozen=True)
class Operation:
    """left and right are expressions or numbers; sign is one of + - × ÷. Only sums may have a negative left value."""

    left: Operation | int
    sign: str
    right: Operation | int


Expression = Operation | int
_RANK = {"+": 1, "-": 1, "×": 2, "÷": 2}


def value(expression: Expression) -> int:
    """What an expression comes to; divisions must come out even."""
    if isinstance(expression, int):
        return expression
    left, right = value(expression.left), value(expression.right)
    match expression.sign:
        case "+":
            return left + right
        case "-":
            return left - right
        case "×":
            return left * right
    assert left % right == 0, "only divisions that come out even are made"
    return left // right


def text(expression: Expression) -> str:
    """The expression with spaces around its signs and parentheses where precedence needs them."""
    if isinstance(expression, int):
        return str(expression)
    left, right = text(expression.left), text(expression.right)
    rank = _RANK[expression.sign]
    if isinstance(expression.left, Operation) and _RANK[expression.left.sign] < rank:
        left = f"({left})"
    if isinstance(expression.right, Operation) and _RANK[expression.right.sign] <= rank:
        right = f"({right})"
    return f"{left} {expression.sign} {right}"


def _ready(node: Expression, depth: int) -> Iterator[tuple[int, Operation]]:
    """Operations on two numbers with their urgency: depth in parentheses, then rank; from the left."""
    if isinstance(node, int):
        return
    if isinstance(node.left, int) and isinstance(node.right, int):
        yield 10 * depth + _RANK[node.sign], node
    rank = _RANK[node.sign]
    yield from _ready(node.left, depth + (isinstance(node.left, Operation) and _RANK[node.left.sign] < rank))
    yield from _ready(node.right, depth + (isinstance(node.right, Operation) and _RANK[node.right.sign] <= rank))


def _first(expression: Operation) -> Operation:
    """The operation to do next: inside parentheses and products first, from the left."""
    return max(_ready(expression, 0), key=lambda ready: ready[0])[1]


def _replaced(expression: Expression, done: Operation, result: int) -> Expression:
    """The expression with one operation (that very object) replaced by its result."""
    if isinstance(expression, int):
        return expression
    if expression is done:
        return result
    return Operation(
        _replaced(expression.left, done, result), expression.sign, _replaced(expression.right, done, result)
    )


def _digits(number: int, length: int) -> list[int]:
    """Digits from the last to the first, with zeros up to a length."""
    return [int(digit) for digit in reversed(str(number).zfill(length))]


def _added(a: int, b: int, thinking: str, *, brief: bool) -> str:
    """a + b by columns from the right: "7+5=12, 2 carry 1; 1+2+1=4"; brief leaves the carry to the eye."""
    length = max(len(str(a)), len(str(b)))
    columns, carry = [], 0
    for position, (x, y) in enumerate(zip(_digits(a, length), _digits(b, length), strict=True)):
        total = x + y + carry
        column = f"{x}+{y}{'+1' if carry else ''}={total}"
        carry = total // 10
        is_last = position == length - 1
        columns.append(column if brief or is_last or not carry else f"{column}, {total % 10} {CARRY[thinking]} 1")
    return "; ".join(columns)


def _subtracted(a: int, b: int, thinking: str, *, brief: bool) -> str:
    """a - b for a >= b, by columns from the right: "13-7=6, borrow 1; 2-1-0=1"."""
    length = len(str(a))
    columns, borrow = [], 0
    for x, y in zip(_digits(a, length), _digits(b, length), strict=True):
        taken = "-1" if borrow else ""
        short = x - y - borrow < 0
        result = x - y - borrow + 10 * short
        column = f"{x + 10 * short}-{y}{taken}={result}"
        borrow = int(short)
        columns.append(column if brief or not borrow else f"{column}, {BORROW[thinking]} 1")
    return "; ".join(columns)


def _times_digit(a: int, digit: int, thinking: str, *, brief: bool) -> str:
    """a × one digit, from the right: "7×9=63, 3 carry 6; 4×9+6=42, 2 carry 4; 3×9+4=31"."""
    steps, carry = [], 0
    digits = _digits(a, len(str(a)))
    for position, x in enumerate(digits):
        total = x * digit + carry
        step = f"{x}×{digit}{f'+{carry}' if carry else ''}={total}"
        carry = total // 10
        is_last = position == len(digits) - 1
        steps.append(step if brief or is_last or not carry else f"{step}, {total % 10} {CARRY[thinking]} {carry}")
    return "; ".join(steps)


def _line(head: str, working: str, result: int) -> str:
    return f"{head}: {working}: {result}" if working else f"{head} = {result}"


def _multiplied(a: int, b: int, thinking: str, *, brief: bool) -> str:
    """a × b, both positive and b the shorter: partial products for each digit of b but zeros, then their sums."""
    parts = [(digit, 10**place) for place, digit in enumerate(_digits(b, len(str(b)))) if digit]
    if a < 10 and b < 10:
        return f"{a} × {b} = {a * b}"
    lines = []
    for digit, place in parts:
        product = _line(f"{a} × {digit}", _times_digit(a, digit, thinking, brief=brief), a * digit)
        lines.append(product if place == 1 else f"{product}, {a} × {digit * place} = {a * digit * place}")
    total = a * parts[0][0] * parts[0][1]
    for digit, place in parts[1:]:
        product = a * digit * place
        working = _added(total, product, thinking, brief=brief)
        lines.append(_line(f"{total} + {product}", working, total + product))
        total += product
    split = " + ".join(f"{a} × {digit * place}" for digit, place in parts)
    return f"{a} × {b} = {split}. " * (len(parts) > 1) + ". ".join(lines)


def _divided(a: int, b: int) -> str:
    """a ÷ b for one digit b, from the left: "84 ÷ 7: 8=1×7+1; 14=2×7+0: 12"."""
    steps, rest, started = [], 0, False
    for digit in str(a):
        rest = 10 * rest + int(digit)
        started = started or rest >= b
        if started:
            steps.append(f"{rest}={rest // b}×{b}+{rest % b}")
            rest %= b
    return "; ".join(steps)


def step(a: int, sign: str, b: int, thinking: str, *, brief: bool) -> str:
    """The working of one operation, from its own line "a + b" to its result; in sums a may be negative."""
    head, result = f"{a} {sign} {b}", value(Operation(a, sign, b))
    match sign:
        case "×" if len(str(b)) > len(str(a)) and a:
            return f"{head} = {b} × {a}. {step(b, sign, a, thinking, brief=brief)}"
        case "×":
            return f"{head} = {result}" if not a or not b else _multiplied(a, b, thinking, brief=brief)
        case "÷":
            return _line(head, "" if a < 10 else _divided(a, b), result)
        case "-" if a < 0:
            inner = step(-a, "+", b, thinking, brief=brief)
            return f"{head} = -({-a} + {b}). {inner}. {head} = {result}"
        case "-" if a < b:
            inner = step(b, "-", a, thinking, brief=brief)
            return f"{head} = -({b} - {a}). {inner}. {head} = {result}"
        case "-":
            return _line(head, "" if a < 10 else _subtracted(a, b, thinking, brief=brief), result)
        case _ if a < 0:
            inner = step(b, "-", -a, thinking, brief=brief)
            return f"{head} = {b} - {-a}. {inner}"
    return _line(head, "" if a < 10 and b < 10 else _added(a, b, thinking, brief=brief), result)


def _digit_sum(number: int) -> str:
    """The rest of a number by nine as sums of digits: "9+3+6=18, 1+8=9"; numbers of one digit stand alone."""
    sums = []
    number = abs(number)
    while number > 9:
        digits = str(number)
        number = sum(map(int, digits))
        sums.append(f"{'+'.join(digits)}={number}")
    return ", ".join(sums) or str(number)


def _checked(a: int, sign: str, b: int, thinking: str) -> str:
    """The same result found another way: the inverse operation, or digit sums for a product."""
    result = value(Operation(a, sign, b))
    match sign:
        case "+":
            return step(result, "-", b, thinking, brief=True)
        case "-":
            return step(result, "+", b, thinking, brief=True)
        case "÷":
            return step(result, "×", b, thinking, brief=True)
    if a < 10 and b < 10:
        return f"{b} × {a} = {result}"
    return f"{a}: {_digit_sum(a)}; {b}: {_digit_sum(b)}; {abs(result)}: {_digit_sum(result)}"


def working(expression: Operation, thinking: str, effort: Effort) -> str:
    """The whole analysis: operation by operation, the rest of the expression written out again after each.

    Low effort leaves carries unsaid, high effort finds every result a second time.
    """
    brief = effort is Effort.LOW
    lines, checks = [], []
    rest: Expression = expression
    while isinstance(rest, Operation):
        is_whole = isinstance(rest.left, int) and isinstance(rest.right, int)
        if not is_whole and not (brief and rest is expression):
            lines.append(text(rest))
        now = _first(rest)
        assert isinstance(now.left, int) and isinstance(now.right, int)
        lines.append(step(now.left, now.sign, now.right, thinking, brief=brief))
        checks.append(_checked(now.left, now.sign, now.right, thinking))
        rest = _replaced(rest, now, value(now))
    so = SO[thinking].format(rest)
    worked = ". ".join(lines) + so
    return worked + CHECK[thinking] + ". ".join(checks) + so if effort is Effort.HIGH else worked
