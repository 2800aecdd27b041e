"""Workings of divisions that do not come out even, and of small powers: what sums.py leaves out.

A quotient is exact where it ends within three decimals, which long division by one or two digits finds out; where it
does not end, the working says so.
"""

from __future__ import annotations

from fractions import Fraction

from harmonium.harmony.messages import Effort
from recipes.nano import sums

N_DECIMALS = 3
_ENDLESS = {
    "en": " It does not end, so this is beyond me.",
    "ja": "割り切れない、よって私には無理。",
    "fr": " Cela ne finit pas, donc cela me dépasse.",
    "de": " Das endet nicht, also kann ich es nicht.",
    "es": " No termina, así que está fuera de mi alcance.",
}


def quotient(a: int, b: int) -> str | None:
    """a / b as a decimal number, or None where it has more than three decimals."""
    scaled = Fraction(a, b) * 10**N_DECIMALS
    if scaled.denominator != 1:
        return None
    whole, decimals = divmod(int(scaled), 10**N_DECIMALS)
    ending = f"{decimals:0{N_DECIMALS}}".rstrip("0")
    return f"{whole}.{ending}" if ending else str(whole)


def _long_division(a: int, b: int) -> str:
    """From the left, a point behind the last digit: "7=3×2+1; 3.; 10=5×2+0"."""
    steps, rest, started = [], 0, False
    digits = str(a)
    for place, digit in enumerate(digits):
        rest = 10 * rest + int(digit)
        started = started or rest >= b or place == len(digits) - 1
        if started:
            steps.append(f"{rest}={rest // b}×{b}+{rest % b}")
            rest %= b
    steps.append(f"{a // b}.")
    for _ in range(N_DECIMALS):
        if rest == 0:
            break
        rest *= 10
        steps.append(f"{rest}={rest // b}×{b}+{rest % b}")
        rest %= b
    return "; ".join(steps)


def division(a: int, b: int, thinking: str, effort: Effort) -> str:
    """The analysis of a / b that does not come out even; high effort multiplies back."""
    worked = f"{a} ÷ {b}: {_long_division(a, b)}"
    result = quotient(a, b)
    if result is None:
        again = f": {a // b} × {b} = {a // b * b}" if effort is Effort.HIGH else ""
        return f"{worked}{again}{'。' if thinking == 'ja' else '.'}{_ENDLESS[thinking]}"
    so = sums.SO[thinking].format(result)
    worked = f"{worked}: {result}{so}"
    return f"{worked}{sums.CHECK[thinking]}{result} × {b} = {a}{so}" if effort is Effort.HIGH else worked


def power(base: int, exponent: int, thinking: str, effort: Effort) -> str:
    """The analysis of a small power, one exponent after the other; low effort without the columns of each product."""
    so = sums.SO[thinking].format(base**exponent)
    brief = effort is Effort.LOW
    lines = [f"{base}^{min(exponent, 1)} = {base ** min(exponent, 1)}"]
    for reached in range(2, exponent + 1):
        before, now = base ** (reached - 1), base**reached
        is_by_heart = brief or base in (0, 1, 2, 3, 10)
        product = f"{before} × {base} = {now}" if is_by_heart else sums.step(before, "×", base, thinking, brief=False)
        lines.append(f"{base}^{reached} = {product}")
    worked = f"{'. '.join(lines)}{so}"
    if effort is Effort.HIGH:
        chain = ", ".join(str(base**reached) for reached in range(exponent + 1))
        return f"{worked}{sums.CHECK[thinking]}{chain}{so}"
    return worked
