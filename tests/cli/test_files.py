"""Files that people hand to the command line: conversations and functions."""

import json
from pathlib import Path

import pytest

from harmonium.cli import formats, functions, transcript
from harmonium.errors import BadRequest, CannotWrite
from harmonium.harmony.messages import Message


def test_a_conversation_comes_back_as_it_was(tmp_path: Path) -> None:
    messages = [
        {"role": "user", "content": "Wie ist das Wetter? ☔"},
        Message.analysis("I look it up."),
        Message.call("get_weather", '{"city": "Bonn"}'),
        Message.tool("functions.get_weather", "rain"),
        Message.final("Es regnet."),
        {"role": "user", "content": "Half a pair: \ud83c"},
    ]
    transcript.write(tmp_path / "saved.json", messages)
    assert transcript.read(tmp_path / "saved.json") == messages
    transcript.write(tmp_path / "empty.json", [])
    assert transcript.read(tmp_path / "empty.json") == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not JSON"),
        ('{"turns": []}', "list of messages"),
        ('["hello"]', "list of messages"),
        ('[{"role": "robot", "channel": "final"}]', "one of system"),
        ('[{"channel": "final", "content": "x"}]', "Message 0: None is no role"),
        ('[{"role": "user", "content": "x"}, {"role": "assistant", "channel": "x"}]', "Message 1: 'x' is no channel"),
        ('[{"role": "assistant", "channel": "final", "content": ["x"]}]', "its content should be text, not list"),
        ('[{"role": "assistant", "recipient": {}, "content": "x"}]', "its recipient should be text, not dict"),
        ('[{"role": "developer", "channel": "final", "content": "x"}]', "has no channel"),
        ('[{"role": "user", "content": {"text": "x"}}]', "x.json cannot be used. Message 0: The content is text"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_what_is_no_conversation_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(BadRequest, match=says):
        transcript.read(tmp_path / "x.json")


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="cannot be read: No such file"):
        transcript.read(tmp_path / "none.json")
    with pytest.raises(CannotWrite, match="cannot be written: No such file"):
        transcript.write(tmp_path / "none" / "x.json", [])


SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}


@pytest.mark.parametrize(
    ("name", "text", "format_"),
    [
        ("place.json", json.dumps(SCHEMA), FORMAT),
        ("any.json", json.dumps(FORMAT), FORMAT),
        ("a.json", '{"type": "json_object"}', {"type": "json_object"}),
        ("a.lark", 'start: "yes"\n', {"type": "grammar", "syntax": "lark", "definition": 'start: "yes"'}),
        ("a.regex", "[0-9]+\n", {"type": "grammar", "syntax": "regex", "definition": "[0-9]+"}),
    ],
)
def test_a_file_says_what_an_answer_follows(tmp_path: Path, name: str, text: str, format_: object) -> None:
    (tmp_path / name).write_text(text)
    assert formats.load(str(tmp_path / name)) == format_
    assert formats.load("json") == {"type": "json_object"} and formats.load("text") == {"type": "text"}


@pytest.mark.parametrize(("text", "says"), [(None, "cannot be read"), ("{", "is not JSON"), ("[]", "JSON Schema")])
def test_what_is_no_format_is_refused(tmp_path: Path, text: str | None, says: str) -> None:
    if text is not None:
        (tmp_path / "x.json").write_text(text)
    with pytest.raises(BadRequest, match=says):
        formats.load(str(tmp_path / "x.json"))


def test_functions_of_a_file_become_tools(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("from json import loads\n\ndef b(x: int): ...\n\ndef a(): ...\n\ndef _private(): ...\n\nC = 3\n")
    assert [function.__name__ for function in functions.load(path)] == ["b", "a"]
    assert [function.__name__ for function in functions.load(functions.DEMO)] == ["get_current_weather", "get_price"]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("none.py", None, "There is no file"),
        ("text.txt", "def f(): ...", "not a Python file"),
        ("empty.py", "x = 1", "defines no function"),
        ("broken.py", "import nonexistent_module", "ModuleNotFoundError: No module named"),
        ("syntax.py", "def f(:", "SyntaxError"),
    ],
)
def test_what_has_no_functions_is_refused(tmp_path: Path, name: str, text: str | None, says: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(BadRequest, match=says):
        functions.load(tmp_path / name)
