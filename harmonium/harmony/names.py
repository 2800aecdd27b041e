"""Names for headers, both ways: a tool called "look up" is called `functions.look_up`, and known again.

A header holds any name without blanks and without the texts of `<|channel|>` and `<|constrain|>`; it stands for itself,
as the reference renderer writes it. In other names low lines stand for these, and names that would thereby become one
are numbered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harmonium.harmony.header import is_recipient, sayable
from harmonium.harmony.namespaces import FUNCTIONS


def spoken_names(names: Iterable[str]) -> dict[str, str]:
    """Of the functions declared together, those that cannot stand for themselves, and what stands for them."""
    declared = list(dict.fromkeys(names))
    taken = set(filter(is_recipient, declared))
    spoken: dict[str, str] = {}
    for name in declared:
        if name in taken:
            continue
        written = sayable(name)
        number = 1
        while written in taken:
            number += 1
            written = f"{sayable(name)}_{number}"
        taken.add(written)
        spoken[name] = written
    return spoken


def spoken_recipient(recipient: str, spoken: Mapping[str, str]) -> str:
    """A recipient, or a tool as author, as headers have it. spoken: of `spoken_names`."""
    namespace, dot, name = recipient.partition(".")
    if namespace == FUNCTIONS and name in spoken:
        return f"{namespace}{dot}{spoken[name]}"
    return sayable(recipient)


def meant_recipient(recipient: str, meant: Mapping[str, str]) -> str:
    """The way back. meant: `spoken_names` turned round."""
    namespace, dot, name = recipient.partition(".")
    return f"{namespace}{dot}{meant[name]}" if namespace == FUNCTIONS and name in meant else recipient
