"""How far a long computation has come, and how long it will still take: lines for a log."""

from __future__ import annotations

import sys
import time


class Progress:
    """Counts what is done, and now and then prints a line with the time left.

    Parameters
    ----------
    total : int
        How many items there are.
    what : str
        Their name, in the plural.
    every_s : float
        Least time between two lines. What ends sooner prints nothing.
    """

    def __init__(self, total: int, what: str, every_s: float = 10.0):
        self.total, self.what, self.every_s = total, what, every_s
        self.done = self.before = 0
        self.begun = self.start = self.last = time.monotonic()

    def advance(self, number: int) -> None:
        """So many more are done."""
        now = time.monotonic()
        if not self.done:
            # What is prepared before the first items says nothing about the pace of the others.
            self.begun, self.before = now, number
        self.done += number
        if now - self.last < self.every_s or self.done == self.before:
            return
        self.last = now
        left = (now - self.begun) * max(self.total - self.done, 0) / (self.done - self.before)
        share = f"{self.done} of {self.total} {self.what}"
        print(f"{share} after {_words(now - self.start)}, {_words(left)} left", file=sys.stderr, flush=True)


def _words(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
