"""Routes that need an API key look at it before they read a body: who has no key gives the server nothing to hold."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from harmonium.server.serving import admit, known, let_in


class Guarded(APIRoute):
    """A route with a parameter Admitted or Known; a router's `route_class`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()
        wanted = {dependency.call for dependency in self.dependant.dependencies}
        if not wanted & {admit, known}:
            return answer

        async def guarded(request: Request) -> Response:
            let_in(request, is_limited=admit in wanted)
            return await answer(request)

        return guarded
