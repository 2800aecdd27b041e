"""The public names: what `harmonium` offers, and when it imports it."""

import ast
from pathlib import Path

import pytest

import harmonium

SOURCE = Path(harmonium.__file__)


def test_every_public_name_is_there() -> None:
    for name in harmonium.__all__:
        assert getattr(harmonium, name) is not None
    assert {name for name in dir(harmonium) if not name.startswith("__")} == set(harmonium.__all__)
    assert "__version__" in dir(harmonium)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        harmonium.nonsense  # noqa: B018


def test_type_checkers_see_the_same_names() -> None:
    imports = [
        node for node in ast.walk(ast.parse(SOURCE.read_text(encoding="utf-8"))) if isinstance(node, ast.ImportFrom)
    ]
    seen = {(node.module, alias.asname) for node in imports for alias in node.names if alias.asname}
    assert seen == {(home, name) for name, home in harmonium._HOME_OF.items()}


def test_loaded_weights_serve_several_llms(nano: Path) -> None:
    loaded = harmonium.load("nano")
    one, two = harmonium.LLM(loaded), harmonium.LLM(loaded, context=256)
    assert one.chat("2 + 2 = ?").token_ids == two.chat("2 + 2 = ?").token_ids
    assert two.context == 256
    assert loaded.transformer.config.n_experts == 16
