"""Routes that need an API key look at it before they read a body: who has no key gives the server nothing to hold.

Bodies are read with bounds (reading.py).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from harmonium.server.reading import BoundedRequest
from harmonium.server.serving import admit, known, let_in


class Guarded(APIRoute):
    """A route with a parameter Admitted or Known; a router's `route_class`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()
        wanted = {dependency.call for dependency in self.dependant.dependencies}
        has_body = self.body_field is not None
        if not wanted & {admit, known}:
            assert not has_body, "only who has a key sends something to read"
            return answer

        async def guarded(request: Request) -> Response:
            let_in(request, is_limited=admit in wanted)
            return await answer(BoundedRequest(request.scope, request.receive) if has_body else request)

        return guarded
