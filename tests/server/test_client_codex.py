"""Codex, the coding agent, on this server: it runs the command that nano asks for, and goes on in the same session."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harmonium import LLM
from harmonium.chat.loading import Loaded
from tests.server.conftest import Running, Start

CODEX = shutil.which("codex")
BRIEF = """
model = "nano"
model_provider = "harmonium"
model_instructions_file = "{folder}/instructions.md"
approval_policy = "never"
sandbox_mode = "danger-full-access"
web_search = "disabled"
check_for_update_on_startup = false
include_permissions_instructions = false
include_environment_context = false

[agents]
enabled = false

[skills]
include_instructions = false

[analytics]
enabled = false

[features]
apps = false
goals = false
plugins = false
view_image = false
"""
"""Codex's usual 10,000 tokens of instructions are beyond nano; with these settings it sends a few hundred."""
PROVIDER = """
[model_providers.harmonium]
name = "Harmonium"
base_url = "{url}/v1"
wire_api = "responses"
"""
MCP = """
[mcp_servers.weather]
command = "{python}"
args = ["{folder}/weather.py"]
required = true
startup_timeout_sec = 60
"""
WEATHER = """
from mcp.server.mcpserver import MCPServer

server = MCPServer("weather")


@server.tool()
def get_current_weather(city: str) -> str:
    \"\"\"Get the current weather in a city.\"\"\"
    return f"Sunny in {city}, 27 degrees."


server.run("stdio")
"""
NOWHERE = "http://127.0.0.1:9"


def codex(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    """The events of a run."""
    assert CODEX is not None
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), NOWHERE) | {"NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        [CODEX, "exec", "--skip-git-repo-check", "--json", *arguments],
        cwd=folder,
        env=os.environ | proxies | {"CODEX_HOME": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.stdout, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def completed(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The items of a run that came to its end."""
    assert events[-1]["type"] == "turn.completed", events
    return [event["item"] for event in events if event["type"] == "item.completed"]


@pytest.mark.deep
@pytest.mark.skipif(CODEX is None, reason="needs Codex: npm install --global @openai/codex")
def test_codex_runs_a_command_and_goes_on(server: Running, tmp_path: Path) -> None:
    (tmp_path / "instructions.md").write_text("You are a helpful assistant.")
    (tmp_path / "config.toml").write_text(BRIEF.format(folder=tmp_path) + PROVIDER.format(url=server.url))
    items = completed(codex(tmp_path, "Call exec_command with cmd ls."))
    [command] = [item for item in items if item["type"] == "command_execution"]
    assert command["exit_code"] == 0 and "instructions.md" in command["aggregated_output"]
    assert [item["type"] for item in items][-1] == "agent_message"
    answers = [
        completed(codex(tmp_path, *words))[-1] for words in (["What is 12 + 30?"], ["resume", "--last", "And 12 + 31?"])
    ]
    assert [answer["type"] for answer in answers] == ["agent_message"] * 2


@pytest.mark.deep
@pytest.mark.skipif(CODEX is None, reason="needs Codex: npm install --global @openai/codex")
def test_codex_calls_its_mcp_servers(server: Running, tmp_path: Path) -> None:
    """It declares their tools in namespaces."""
    (tmp_path / "instructions.md").write_text("You are a helpful assistant.")
    (tmp_path / "weather.py").write_text(WEATHER)
    brief = BRIEF.replace("[features]", "[features]\nshell_tool = false\ntool_search_always_defer_mcp_tools = false")
    settings = brief.format(folder=tmp_path) + PROVIDER.format(url=server.url)
    (tmp_path / "config.toml").write_text(settings + MCP.format(folder=tmp_path, python=sys.executable))
    items = completed(codex(tmp_path, "What is the weather like in Madrid?"))
    [call] = [item for item in items if item["type"] == "mcp_tool_call"]
    assert (call["tool"], call["arguments"], call["status"]) == ("get_current_weather", {"city": "Madrid"}, "completed")
    assert "27 degrees" in items[-1]["text"]


@pytest.mark.deep
@pytest.mark.skipif(CODEX is None, reason="needs Codex: npm install --global @openai/codex")
def test_all_that_codex_sends(start: Start, weights: Loaded, tmp_path: Path) -> None:
    """More than 10,000 tokens of instructions, and tools of every type; nano babbles, to the context's end perhaps."""
    config = 'model = "nano"\nmodel_provider = "harmonium"\ncheck_for_update_on_startup = false\n'
    with start(LLM(weights, context=14_000)) as server:
        (tmp_path / "config.toml").write_text(config + PROVIDER.format(url=server.url))
        events = codex(tmp_path, "--sandbox", "read-only", "Say hello.")
    end = events[-1]
    assert end["type"] == "turn.completed" or "max_output_tokens" in end["error"]["message"], end
    said = {event["item"]["type"] for event in events if event["type"] == "item.completed"}
    assert said & {"reasoning", "agent_message"}, "the model was asked"
