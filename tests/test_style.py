"""What keeps the code small enough to read."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(path for room in ("harmonium", "recipes", "docs", "tests") for path in (ROOT / room).rglob("*.py"))
PACKAGE = [path for path in SOURCES if "tests" not in path.parts]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(path: Path) -> Iterator[Function]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def is_triton(function: Function) -> bool:
    return any("triton" in ast.unparse(decorator) for decorator in function.decorator_list)


def test_files_fit_in_one_reading() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {path: length for path, length in lengths.items() if length > 400} == {}


def test_functions_fit_on_a_screen() -> None:
    too_long = {
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name}"
        for path in PACKAGE
        for function in functions(path)
        if function.end_lineno and function.end_lineno - function.lineno >= (100 if is_triton(function) else 60)
    }
    assert too_long == set()


def test_every_module_says_its_job() -> None:
    """A package's __init__ may be empty: its modules speak for it."""
    texts = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in PACKAGE}
    assert [path for path, text in texts.items() if text and not ast.get_docstring(ast.parse(text))] == []
