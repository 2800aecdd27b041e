"""`harmonium top`: its figures are what the answers themselves say they took, and a person sees them change."""

import json
import math
import os
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import NotFoundError

from harmonium.chat.endpoint import Endpoint
from harmonium.cli.figures import Figures, Look, has_restarted, quantile
from harmonium.cli.main import main
from harmonium.cli.top import look
from harmonium.errors import ServerUnreachable
from tests.chat.other_server import Answer, document, other_server
from tests.cli.person import person
from tests.server.conftest import Running, Start


def test_its_figures_are_those_of_the_answers(server: Running) -> None:
    client = server.openai()
    with Endpoint(server.url) as endpoint:
        before = look(endpoint)
        answers = []
        for question in ("What is 12 + 30?", "What is the capital of Peru?"):
            messages = [{"role": "user", "content": question}]
            answers.append(client.chat.completions.create(model="nano", messages=messages, max_tokens=40))  # type: ignore[arg-type]
        with pytest.raises(NotFoundError):
            client.chat.completions.create(model="other", messages=[{"role": "user", "content": "Hello"}])
        assert server.http.get("/v1/responses/resp_none").status_code == 404
        after = look(endpoint)
    usages = [answer.usage for answer in answers if answer.usage is not None]
    figures = Figures.between(before, after)
    assert figures.requests == 3, "GETs, such as those for figures, are not counted"
    assert figures.generated == sum(usage.completion_tokens for usage in usages)
    assert figures.prompt == sum(usage.prompt_tokens for usage in usages)
    n_cached = [usage.prompt_tokens_details.cached_tokens or 0 for usage in usages if usage.prompt_tokens_details]
    assert figures.cached == sum(n_cached) / figures.prompt
    assert figures.errors == {"model_not_found": 1}, "of what is counted as a request"
    assert figures.first_token.median_s is not None and figures.between_tokens.p95_s is not None
    assert figures.seconds == after.at_s - before.at_s
    assert (after.totals["batch_requests"], after.totals["queue_requests"]) == (0, 0)
    assert after.totals["pages"] == server.llm.engine.cache.full.n_pages


def test_one_table_and_one_object(server: Running, capfd: pytest.CaptureFixture[str]) -> None:
    server.post("/chat/completions", messages=[{"role": "user", "content": "What is 12 + 30?"}])
    for n in range(40):
        server.serving.metrics.errors.labels(f"some_error_{n}", "POST").inc()  # more than a terminal is wide
    assert main(["top", server.url, "--interval", "0.01"]) == 0, "no terminal: one table"
    lines = [line.strip() for line in capfd.readouterr().out.splitlines() if line.strip()]
    assert lines[0] == server.url
    rows = [re.split(r"\s{2,}", line)[0] for line in lines[3:]]
    assert rows == [
        *("batch", "queue", "requests", "tokens generated", "tokens of prompts", "time to first token, median / 95 %"),
        *("between tokens, median / 95 %", "prompt tokens found in the cache", "pages held"),
        *("pages held, sliding layers", "pages kept for reuse", "draft tokens accepted", "preemptions"),
        *("repairs", "errors"),
    ]
    assert main(["top", server.url, "--json", "--interval", "0.01"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["now"]["queue_limit"] == server.llm.engine.scheduler.queue_limit
    assert told["since_start"]["generated"] > 0 and told["lately"]["generated"] == 0


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX terminal")
def test_a_person_watches(start: Start) -> None:
    options = ("--interval", "0.05", "--api-key-env", "KEY")
    with start(api_keys={"me": "sk-secret-1"}) as server, person("top", server.url, *options, KEY="sk-secret-1") as eye:
        eye.wait_for(r"requests\s+- +0")
        eye.wait_for(r"requests\s+0\.0 /s +0")
        client = server.openai(api_key="sk-secret-1")
        client.chat.completions.create(model="nano", messages=[{"role": "user", "content": "12 + 30 = ?"}])
        eye.wait_for(r"requests\s+[\d.]+ /s +1")
        eye.type("\x03")
        _, status = os.waitpid(eye.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 130


def test_what_it_cannot_watch(capfd: pytest.CaptureFixture[str]) -> None:
    page = Answer(b"# HELP up\nup 1\n", kind="text/plain")
    no_figures = pytest.raises(ServerUnreachable, match="no figures of Harmonium")
    with other_server(models=page) as other, Endpoint(other.url) as endpoint, no_figures:
        look(endpoint)
    others = (Answer(b"{}"), Answer(b"no", 404, "text/plain"), document({"error": {}}, 404))
    for page in others:
        none_there = pytest.raises(ServerUnreachable, match="is a server that has no /metrics")
        with other_server(models=page) as other, Endpoint(other.url) as endpoint, none_there:
            look(endpoint)
    assert main(["top", "127.0.0.1:1"]) == 12
    assert main(["top", "--interval", "0"]) == 2
    assert "--interval is 0" in capfd.readouterr().err


def test_a_restart_is_seen() -> None:
    first, second = Look(0.0, {"requests": 5.0}), Look(1.0, {"requests": 2.0})
    assert has_restarted(first, second) and not has_restarted(second, first)


@given(st.lists(st.floats(0.001, 9.99), min_size=1, max_size=50), st.floats(0.01, 0.99))
def test_a_quantile_is_in_the_bucket_of_the_true_one(values: list[float], share: float) -> None:
    bounds = [0.01, 0.1, 1.0, 10.0, math.inf]
    found = quantile({bound: float(sum(value <= bound for value in values)) for bound in bounds}, share)
    true = sorted(values)[math.ceil(share * len(values)) - 1]
    [upper] = [bound for low, bound in zip([0.0, *bounds], bounds, strict=False) if low < true <= bound]
    lower = ([0.0, *bounds])[bounds.index(upper)]
    assert found is not None and lower <= found <= upper


def test_no_quantile_of_nothing() -> None:
    assert quantile({}, 0.5) is None and quantile({1.0: 0.0, math.inf: 0.0}, 0.5) is None
    assert quantile({1.0: 0.0, math.inf: 4.0}, 0.5) == 1.0, "beyond the last bound nothing is known"
