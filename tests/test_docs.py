"""The documents that come from the code are fresh, and the others point at things that exist."""

import doctest
import re
from pathlib import Path

import pytest

from docs import figures, generate

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


def test_generated_documents_are_fresh() -> None:
    for path, text in generate.documents().items():
        assert path.read_text(encoding="utf-8") == text, "run `make docs`"


def test_the_tree_refuses_a_room_that_it_does_not_describe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(generate.ROOMS, "harmonium/cli")
    with pytest.raises(SystemExit, match="harmonium/cli"):
        generate.tree()


@pytest.mark.parametrize("page", [ROOT / "docs" / name for name in figures.PAGES], ids=lambda page: page.name)
def test_tables_of_figures_say_what_the_raw_ones_do(page: Path) -> None:
    """Every digit of them: whatever is changed there is put back."""
    text = page.read_text(encoding="utf-8")
    changed = figures.BLOCK.sub(lambda table: table[1] + re.sub(r"\d", _other, table[0][len(table[1]) :]), text)
    assert changed != text and figures.filled(changed) == text


def _other(digit: re.Match[str]) -> str:
    return str(9 - int(digit[0]))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    targets = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", text)
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing


def test_the_examples_of_harmony_hold() -> None:
    failed, tried = doctest.testfile(str(ROOT / "docs" / "harmony.md"), module_relative=False)
    assert tried and not failed


def test_make_targets_that_documents_name_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"`make ([a-z]+)", page.read_text(encoding="utf-8"))}
    assert named
    assert named <= targets
