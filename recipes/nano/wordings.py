"""Wordings kept as plain text: recipes/nano/wordings/NAME.LANGUAGE.txt, one wording a line under [section] headings."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from recipes.nano.words import LANGUAGES

_FOLDER = Path(__file__).parent / "wordings"


def _sections(text: str) -> dict[str, tuple[str, ...]]:
    sections: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("[") and line.endswith("]"):
            lines = sections.setdefault(line[1:-1], [])
        elif line:
            lines.append(line)
    return {name: tuple(lines) for name, lines in sections.items()}


@cache
def load(name: str) -> dict[str, dict[str, tuple[str, ...]]]:
    """The wordings of a file family: section -> language -> wordings."""
    by_language = {
        language: _sections((_FOLDER / f"{name}.{language}.txt").read_text("utf-8")) for language in LANGUAGES
    }
    return {
        section: {language: by_language[language][section] for language in LANGUAGES} for section in by_language["en"]
    }
