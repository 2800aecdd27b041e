"""What nano can do, measured: held-out drills, answered by the packed checkpoint through the engine and judged.

A drill's tools are answered from its own conversation: a call must match the one written there, and its result follows.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from statistics import median

from harmonium.engine.engine import Engine
from harmonium.engine.request import SamplingParams
from harmonium.harmony.messages import Channel, Conversation, Message, Role, SystemContent
from harmonium.harmony.parse import parse
from harmonium.harmony.render import render
from harmonium.harmony.vocabulary import Vocabulary
from harmonium.model import checkpoint
from harmonium.model.transformer import Transformer
from recipes.nano.curriculum import SCORED, exam
from recipes.nano.drill import Answer, Drill

MAX_TOKENS = 1024


@dataclass
class Sitting:
    """One drill being answered: what was said so far, and what of the drill's own conversation is still to come."""

    drill: Drill
    messages: list[Message]
    expected: list[Message]
    analysis: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)
    n_analysis: int = 0
    is_right: bool | None = None

    @staticmethod
    def of(drill: Drill) -> Sitting:
        messages = drill.conversation.messages
        given, rest = messages[: drill.n_given], messages[drill.n_given :]
        return Sitting(drill, list(given), [m for m in rest if m.role is Role.TOOL or m.recipient])

    @property
    def effort(self) -> str:
        contents = (c for c in self.messages[0].content if isinstance(c, SystemContent))
        return next((str(c.effort) for c in contents), "")

    def read(self, ids: Sequence[int], vocabulary: Vocabulary) -> None:
        """Take one generation: settle the drill, or append a tool's result and leave it open."""
        said = parse(ids, vocabulary).messages
        self.messages += said
        thoughts = [m.text for m in said if m.channel == Channel.ANALYSIS and not m.recipient]
        self.analysis += "".join(thoughts)
        self.n_analysis += sum(len(vocabulary.encode(text)) for text in thoughts)
        last = said[-1] if said else None
        if last is None or not last.recipient:
            final = last.text if last is not None and last.channel == Channel.FINAL else ""
            answer = Answer(self.analysis, final, tuple(self.calls))
            self.is_right = not self.expected and bool(final) and self.drill.judge(answer)
            return
        self.calls.append((last.recipient, last.text))
        if not self.expected or not same_call(last, self.expected.pop(0)):
            self.is_right = False
        elif not self.expected:
            self.is_right = self.drill.judge(Answer(self.analysis, "", tuple(self.calls)))
        else:
            self.messages.append(self.expected.pop(0))


def same_call(made: Message, wanted: Message) -> bool:
    """The same recipient, and arguments equal as JSON, or to the letter where they are not JSON."""
    if made.recipient != wanted.recipient:
        return False
    try:
        return bool(json.loads(made.text) == json.loads(wanted.text))
    except ValueError:
        return made.text.strip() == wanted.text.strip()


def answer(sittings: Sequence[Sitting], engine: Engine, vocabulary: Vocabulary, params: SamplingParams) -> None:
    """Let the model speak until every drill is settled; all of them share the engine's batch."""
    running: dict[int, tuple[Sitting, list[int]]] = {}

    def ask(number: int, sitting: Sitting) -> None:
        prompt = render(Conversation(tuple(sitting.messages)), vocabulary)
        settings = replace(params, seed=number, stop_ids=tuple(vocabulary.stop_ids), max_tokens=MAX_TOKENS)
        running[engine.add(prompt, settings)] = sitting, []

    for number, sitting in enumerate(sittings):
        ask(number, sitting)
    while engine.has_work:
        for output in engine.step():
            sitting, ids = running[output.request_id]
            ids += output.ids
            if output.finish_reason is None:
                continue
            del running[output.request_id]
            sitting.read(ids, vocabulary)
            if sitting.is_right is None:
                ask(len(ids), sitting)


def evaluate(
    folder: Path,
    *,
    n: int = 200,
    temperature: float = 0.0,
    skills: Sequence[str] = SCORED,
    show: Callable[[str], None] = print,
    misses: int = 0,
    device: str = "cpu",
) -> dict[str, float]:
    """Accuracy per skill on n held-out drills each, and median analysis lengths by effort; one JSON line at the end."""
    vocabulary = Vocabulary.from_file(folder / "tokenizer.json")
    engine = Engine(Transformer.load(checkpoint.open(folder), device))
    scores: dict[str, float] = {}
    lengths: dict[str, list[int]] = defaultdict(list)
    for skill in skills:
        sittings = [Sitting.of(drill) for drill in exam(skill, n)]
        answer(sittings, engine, vocabulary, SamplingParams(temperature=temperature))
        scores[skill] = sum(bool(sitting.is_right) for sitting in sittings) / n
        for sitting in sittings:
            lengths[sitting.effort].append(sitting.n_analysis)
        show(f"{skill:20} {scores[skill]:.3f}")
        for sitting in [s for s in sittings if not s.is_right][:misses]:
            for message in sitting.messages[1:]:
                show(f"    {message.role} {message.channel or ''} {message.recipient or ''} {message.content!r}"[:400])
    by_effort = {
        f"analysis_{effort}": median(lengths[effort]) for effort in ("low", "medium", "high") if lengths[effort]
    }
    weights = sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    show(json.dumps({"weights": weights, "temperature": temperature, "n": n, **scores, **by_effort}))
    return scores
