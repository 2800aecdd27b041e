"""A client's connection, with an end to what it may send, headers of so many bytes and whole requests in so much time,
and to how long it may leave unread what it is sent.

The app ends late bodies with an answer (calls.py). This is for clients that it never hears of, or that go on sending
after their answer, and for those that stop reading: an answer that waits for one would keep its place for ever.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD_BYTES = 128 << 10
REFUSAL = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Connection(HttpToolsProtocol):
    """whole_within_s: from a request's first byte to its last; of a new connection, to its first request.

    read_within_s: in each such time a client takes some of what waits for it, or its connection is lost.
    """

    whole_within_s, read_within_s = 90.0, 30.0

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._late: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._is_in_head, self._n_head_bytes, self._n_heads = True, 0, 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast(asyncio.Transport, _Nameless(transport)))
        self.transport = transport
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._stop_watching()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        was_in_head, n_heads = self._is_in_head, self._n_heads
        super().data_received(data)
        if was_in_head and self._is_in_head and n_heads == self._n_heads:  # else a whole request came with its body
            self._n_head_bytes += len(data)
            if self._n_head_bytes > MOST_HEAD_BYTES:
                self.transport.write(REFUSAL)
                self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_head, self._n_head_bytes = True, 0
        self._expect()

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._n_heads += 1
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._is_in_head, self._n_head_bytes = True, 0
        self._stop_waiting()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        self._stop_watching()
        super().resume_writing()

    def _watch(self, n_waiting: int) -> None:
        """Sees after read_within_s whether so many bytes still wait. No more come meanwhile: whoever writes waits."""
        self._stop_watching()
        self._stalled = self.loop.call_later(self.read_within_s, self._look_again, n_waiting)

    def _look_again(self, n_waiting: int) -> None:
        n_left = self.transport.get_write_buffer_size()
        if n_left < n_waiting:
            self._watch(n_left)
        else:
            self.transport.abort()

    def _stop_watching(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _expect(self) -> None:
        self._stop_waiting()
        self._late = self.loop.call_later(self.whole_within_s, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


class _Nameless:
    """A transport that does not say who is at its ends, which nothing here depends on: to ask the system for that lets
    go of the interpreter, and has to wait for it again, half a millisecond each time while a model computes.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default if name in ("socket", "sockname", "peername") else self._transport.get_extra_info(name, default)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
