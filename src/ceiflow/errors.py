"""The errors that a user sees: each names the file, the field, what was found and what was expected."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

# What a broken file says may hold anything; line ends, controls and half characters reach no table or page.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")
_LONGEST = 600


def printable(text: object) -> str:
    """One line from whatever a file says: controls become spaces, and the end of a very long one goes."""
    line = _UNPRINTABLE.sub(" ", str(text)).strip()
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "..."


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with an input.

    Parameters
    ----------
    file : str
        The file in question, as the user wrote it.
    field : str
        Key, row and column, or axis within that file.
    found, expected : str
        What stands there, and what should.
    """

    file: str
    field: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.file}: {self.field}: found {self.found}; expected {self.expected}"


class CeiflowError(Exception):
    """Base of all errors that come from the input and not from the program."""


class StudyError(CeiflowError):
    """The configuration or a sheet is wrong; holds every fault at once."""

    def __init__(self, faults: Iterable[Fault]):
        self.faults = list(faults)
        lines = "\n".join(f"  {fault}" for fault in self.faults)
        super().__init__(f"{len(self.faults)} fault(s) in the study:\n{lines}")


class SignalError(CeiflowError):
    """A raw file that cannot be used; it fails its own acquisition only."""

    def __init__(self, file: object, field: str, found: object, expected: object):
        self.fault = Fault(printable(file), printable(field), printable(found), printable(expected))
        super().__init__(str(self.fault))
