"""Output items as they grow: each gives the events of its beginning, of what is added to it, and of its end.

An event is a dict without its sequence number. The order within an item is OpenAI's: the item is added, then its part,
then deltas; then text, part and item are done.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from harmonium.chat.events import TokenLogprob
from harmonium.server.sealing import Seal
from harmonium.server.wire.response_items import new_id

Fields = dict[str, Any]


class Output:
    """One item. kind: what it is made of: "reasoning", a text's channel, or "call". item: as it is now."""

    def __init__(self, kind: str, index: int, item: Fields) -> None:
        self.kind, self.item = kind, item
        self._index = index
        self._texts: list[str] = []

    def begin(self) -> Iterator[Fields]:
        yield self._event("output_item.added", item=dict(self.item))

    def add(self, text: str, logprobs: Sequence[TokenLogprob] = ()) -> Iterator[Fields]:
        raise NotImplementedError

    def end(self, status: str) -> Iterator[Fields]:
        """status: completed, or incomplete where the turn was cut in it."""
        self.item["status"] = status
        yield self._event("output_item.done", item=dict(self.item))

    @property
    def _text(self) -> str:
        return "".join(self._texts)

    def _event(self, name: str, /, **fields: Any) -> Fields:
        """One that tells where the item is."""
        return {"type": f"response.{name}", "output_index": self._index, **fields}

    def _inner(self, name: str, /, **fields: Any) -> Fields:
        """One of the item's inside."""
        return self._event(name, item_id=self.item["id"], **fields)


class TextOutput(Output):
    """A message: the answer, or a preamble before a call."""

    def __init__(self, channel: str, index: int) -> None:
        phase = "commentary" if channel == "commentary" else "final_answer"
        head = {"id": new_id("message"), "type": "message", "status": "in_progress", "role": "assistant"}
        super().__init__(channel, index, {**head, "phase": phase, "content": []})
        self._logprobs: list[Fields] = []

    def begin(self) -> Iterator[Fields]:
        yield from super().begin()
        yield self._inner("content_part.added", content_index=0, part=_output_text("", []))

    def add(self, text: str, logprobs: Sequence[TokenLogprob] = ()) -> Iterator[Fields]:
        self._texts.append(text)
        told = [logprob(token) for token in logprobs]
        self._logprobs += told
        yield self._inner("output_text.delta", content_index=0, delta=text, logprobs=told)

    def end(self, status: str) -> Iterator[Fields]:
        part = _output_text(self._text, self._logprobs)
        self.item["content"] = [part]
        yield self._inner("output_text.done", content_index=0, text=self._text, logprobs=self._logprobs)
        yield self._inner("content_part.done", content_index=0, part=part)
        yield from super().end(status)


class ReasoningOutput(Output):
    """The analysis. summarizes: its text is told as a summary, too, for there is no other. seal: to seal it with.
    is_shown: its text is told at all, and not only sealed.

    The openai types know no logprobs of reasoning; where they are asked for they stand where those of text do.
    """

    def __init__(self, index: int, *, summarizes: bool, seal: Seal | None, is_shown: bool) -> None:
        head: Fields = {"id": new_id("reasoning"), "type": "reasoning", "status": "in_progress"}
        super().__init__("reasoning", index, {**head, "summary": [], "content": [], "encrypted_content": None})
        self._summarizes, self._seal, self._is_shown = summarizes, seal, is_shown
        self._logprobs: list[Fields] = []

    def begin(self) -> Iterator[Fields]:
        yield from super().begin()
        if not self._is_shown:
            return
        yield self._inner("content_part.added", content_index=0, part=_part("reasoning_text", ""))
        if self._summarizes:
            yield self._inner("reasoning_summary_part.added", summary_index=0, part=_part("summary_text", ""))

    def add(self, text: str, logprobs: Sequence[TokenLogprob] = ()) -> Iterator[Fields]:
        self._texts.append(text)
        if not self._is_shown:
            return
        told = [logprob(token) for token in logprobs]
        self._logprobs += told
        reported = {"logprobs": told} if told else {}
        yield self._inner("reasoning_text.delta", content_index=0, delta=text, **reported)
        if self._summarizes:
            yield self._inner("reasoning_summary_text.delta", summary_index=0, delta=text)

    def end(self, status: str) -> Iterator[Fields]:
        if self._is_shown:
            yield from self._end_texts()
        if self._seal is not None:
            self.item["encrypted_content"] = self._seal.close(self._text)
        yield from super().end(status)

    def _end_texts(self) -> Iterator[Fields]:
        text, reported = self._text, {"logprobs": self._logprobs} if self._logprobs else {}
        part = {**_part("reasoning_text", text), **reported}
        self.item["content"] = [part]
        yield self._inner("reasoning_text.done", content_index=0, text=text, **reported)
        yield self._inner("content_part.done", content_index=0, part=part)
        if self._summarizes:
            self.item["summary"] = [_part("summary_text", text)]
            yield self._inner("reasoning_summary_text.done", summary_index=0, text=text)
            yield self._inner("reasoning_summary_part.done", summary_index=0, part=_part("summary_text", text))


class CallOutput(Output):
    """A call of a function that the client runs, one of a namespace perhaps."""

    def __init__(self, call_id: str, name: str, namespace: str | None, index: int) -> None:
        head = {"id": new_id("function_call"), "type": "function_call", "status": "in_progress"}
        where = {} if namespace is None else {"namespace": namespace}
        super().__init__("call", index, {**head, "call_id": call_id, "name": name, **where, "arguments": ""})

    def add(self, text: str, logprobs: Sequence[TokenLogprob] = ()) -> Iterator[Fields]:
        self._texts.append(text)
        yield self._inner("function_call_arguments.delta", delta=text)

    def end(self, status: str) -> Iterator[Fields]:
        self.item["arguments"] = self._text
        yield self._inner("function_call_arguments.done", name=self.item["name"], arguments=self._text)
        yield from super().end(status)


def logprob(token: TokenLogprob) -> Fields:
    """A token's chance in OpenAI's form."""
    return {**_token(token), "top_logprobs": [_token(other) for other in token.top]}


def _token(token: TokenLogprob) -> Fields:
    return {"token": token.text, "bytes": list(token.bytes), "logprob": token.logprob}


def _part(kind: str, text: str) -> Fields:
    return {"type": kind, "text": text}


def _output_text(text: str, logprobs: list[Fields]) -> Fields:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}
