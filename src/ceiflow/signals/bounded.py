"""A child process with bounds on time and memory: a broken header can send a reader round for ever."""

from __future__ import annotations

import contextlib
import os
import pickle
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from typing import Any

from ceiflow.errors import SignalError

# Waiting (a slow file system) may take this much longer than computing.
_WALL_FACTOR = 20
_KILLED_BY_LIMIT = {signal.SIGXCPU}
_CRASHED = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL}
# Of prctl(2): the child gets this signal when its parent dies.
_PR_SET_PDEATHSIG = 1


def run_bounded(function: Callable[[], Any], name: str, cpu_seconds: float, memory_MB: float) -> Any:
    """Call a function in a forked process of its own, and hand back what it returns.

    Parameters
    ----------
    function : callable
        Takes nothing; returns something that can be pickled. What it changes in memory stays in the child.
    name : str
        The raw file that it reads, for messages.
    cpu_seconds : float
        Time of computing that it may take; of waiting, twenty times as much.
    memory_MB : float
        Memory of its own that it may take; maps of files do not count.

    Raises
    ------
    SignalError
        From the function; or when it breaks a bound or crashes the process. Then the file is at fault: the
        bounds are far above what a sound one needs.
    Exception
        Any other that the function raises, with the child's traceback as a note: a fault of the program.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    with tempfile.TemporaryFile() as answer:
        child = os.fork()
        if child == 0:
            _answer(function, answer, cpu_seconds, memory_MB)
        status = _wait(child, _WALL_FACTOR * cpu_seconds)
        if status is None or (os.WIFSIGNALED(status) and os.WTERMSIG(status) in _KILLED_BY_LIMIT):
            expected = f"a file that is read in {cpu_seconds:g} s (reading.cpu_seconds)"
            raise SignalError(name, "content", "reading it does not come to an end", expected)
        if os.WIFSIGNALED(status):
            number = signal.Signals(os.WTERMSIG(status))
            if number in _CRASHED:
                found = f"unreadable (the reader crashes with {number.name})"
                raise SignalError(name, "content", found, "a whole file")
            raise RuntimeError(f"{name}: the process that reads it was ended by {number.name}")
        answer.seek(0)
        kind, value = pickle.load(answer)
    if kind == "returned":
        return value
    if kind == "signal":
        raise SignalError(*value)
    if kind == "memory":
        expected = f"a file that is read within {memory_MB:g} MB (reading.memory_MB)"
        raise SignalError(name, "content", "reading it takes more memory than there is for it", expected)
    error, text = value
    error.add_note(text)
    raise error


def _answer(function: Callable[[], Any], answer: Any, cpu_seconds: float, memory_MB: float) -> None:
    """The life of the child; it never returns, so that nothing of the parent is cleaned up twice."""
    try:
        _end_with_parent()
        _limit(cpu_seconds, memory_MB)
        try:
            message: tuple[str, Any] = ("returned", function())
        except SignalError as error:
            fault = error.fault
            message = ("signal", (fault.file, fault.field, fault.found, fault.expected))
        except MemoryError:
            message = ("memory", None)
        except BaseException as error:
            message = ("raised", (_portable(error), traceback.format_exc()))
        pickle.dump(message, answer)
        answer.flush()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


def _portable(error: BaseException) -> BaseException:
    """The error itself where it survives pickling, else one that says the same."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _limit(cpu_seconds: float, memory_MB: float) -> None:
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    _lower(resource.RLIMIT_CPU, int(used + cpu_seconds) + 1)
    # Of the kinds of limit this one leaves file maps out: a file of any size may be mapped.
    _lower(resource.RLIMIT_DATA, int(memory_MB * 2**20))
    _lower(resource.RLIMIT_CORE, 0)


def _lower(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _end_with_parent() -> None:
    """Where the system can (Linux), die with the job: nothing writes after a killed run."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait(child: int, seconds: float) -> int | None:
    """The child's exit status; None where it had to be ended."""
    deadline, pause = time.monotonic() + seconds, 0.001
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
