"""Stop strings: where in a text that comes in pieces one of them ends, and how much may be shown until then.

The one that ends first counts, of those the longest; so the result does not depend on the pieces. Every character is
looked at once for each string (Knuth, Morris and Pratt), however the strings repeat themselves.
"""

from __future__ import annotations

from collections.abc import Sequence


class StopMatcher:
    """Sees a text as it comes. n_safe: how many of its characters are to be shown, whatever follows. stop: the string
    that was found; the text ends before it, and what comes behind is not looked at.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        """stops: none of them empty."""
        self.n_safe = 0
        self.stop: str | None = None
        self._n_seen = 0
        self._stops = sorted(stops, key=len, reverse=True)
        self._borders = [_borders(stop) for stop in self._stops]
        self._matched = [0] * len(self._stops)  # how much of each the text so far ends with

    def feed(self, text: str) -> None:
        for character in text:
            if self.stop is not None:
                return
            self._n_seen += 1
            self._take(character)
        if self.stop is None:
            self.n_safe = self._n_seen - max(self._matched, default=0)

    def _take(self, character: str) -> None:
        for number, stop in enumerate(self._stops):
            n, borders = self._matched[number], self._borders[number]
            while n and stop[n] != character:
                n = borders[n - 1]
            n += stop[n] == character
            if n == len(stop):
                self.stop, self.n_safe = stop, self._n_seen - n
                return
            self._matched[number] = n


def _borders(stop: str) -> list[int]:
    """Of each beginning of the string, how long the longest shorter beginning is that it also ends with."""
    borders = [0]
    for character in stop[1:]:
        n = borders[-1]
        while n and stop[n] != character:
            n = borders[n - 1]
        borders.append(n + (stop[n] == character))
    return borders
