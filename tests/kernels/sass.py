"""Machine code of tensor cores' products that run on (HGMMA): what writes registers that such a product still uses.

ptxas does not look after them. A product has been waited for where at most N groups of later ones are left to run
(WARPGROUP.DEPBAR.LE gsb0, N); a group ends with a product that names gsb0. Read as Triton's `get_sass` prints it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

PRODUCT = re.compile(r"HGMMA\.64x(\d+)x16\S* R(\d+), R(\d+), gdesc\[UR\d+\], R\d+(.*)")
WITHOUT_TARGET = ("ST", "LDGSTS", "BAR", "BRA", "ISETP", "FSETP", "PLOP", "RED", "WARP", "SYNCS", "U")
"""Beginnings of instructions whose first operand is no register that they write."""
TURNS = 3


@dataclass
class Running:
    """The products that run: groups of the registers that each reads and sums into, the last group still open."""

    groups: list[set[int]] = field(default_factory=list)
    opened: set[int] = field(default_factory=set)

    def hazard(self, instruction: str) -> bool:
        """Takes the next instruction; whether it writes what a running product uses."""
        if product := PRODUCT.match(instruction):
            n, target, left = (int(number) for number in product.groups()[:3])
            self.opened |= {*range(left, left + 4), *range(target, target + n // 2)}
            if "gsb0" in product[4]:
                self.groups.append(self.opened)
                self.opened = set()
        elif "DEPBAR.LE gsb0" in instruction:
            left_to_run = int(instruction.split(",")[1], 16)
            self.groups = self.groups[len(self.groups) - left_to_run :] if left_to_run else []
        else:
            return any(written(instruction) & used for used in (*self.groups, self.opened))
        return False


def written(instruction: str) -> set[int]:
    """Registers that an instruction writes."""
    name, _, operands = re.sub(r"^@!?U?PT?\d* ", "", instruction).partition(" ")
    target = re.match(r"R(\d+)\b", operands.strip())
    if target is None or name.startswith(WITHOUT_TARGET):
        return set()
    width = 4 if ".128" in name else 2 if ".64" in name or ".WIDE" in name or name.startswith("CS2R") else 1
    return set(range(int(target[1]), int(target[1]) + width))


def hazards(sass: str) -> list[str]:
    """Instructions that write what a running product uses, in the order of the code, and in some turns of its loops."""
    lines = [line.split("\t")[-1].strip().rstrip(";") for line in sass.splitlines()]
    assert all(PRODUCT.match(line) for line in lines if "HGMMA" in line), "products in another form than this one reads"
    labels = {line[:-1]: i for i, line in enumerate(lines) if line.endswith(":")}
    paths = [lines]
    for i, line in enumerate(lines):
        jump = re.search(r"BRA `?\(?(\w+)", line)
        start = labels.get(jump[1], i) if jump else i
        if start < i and any(PRODUCT.match(each) for each in lines[start:i]):
            paths.append(lines[start : i + 1] * TURNS)
    found = []
    for path in paths:
        running = Running()
        found += [line for line in path if running.hazard(line)]
    return found
