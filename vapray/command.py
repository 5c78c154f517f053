"""How a command ends: its exit code, what it says, and what Ctrl-C, SIGTERM and a closed pipe do to it."""

import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from vapray.errors import VaprayError

__all__ = ["ended_well"]

INTERRUPTED = 130
CONTINUES = "What was committed stays; the same command continues from there."
SECONDS_BETWEEN_REMINDERS = 2.0
BUG = CLOSED_PIPE = 1  # as rich and click end when nobody reads


@contextmanager
def ended_well(debug: bool, *, interrupted: str = CONTINUES) -> Iterator[None]:
    """Turn whatever ends the block into one message and the exit code of :mod:`vapray.errors`.

    Args:
        debug: show tracebacks.
        interrupted: what Ctrl-C or SIGTERM leaves.
    """
    _open_standard_streams()
    ended_by = _EndedBy()
    signal.signal(signal.SIGTERM, ended_by.terminate)
    signal.signal(signal.SIGINT, _interrupt)
    threading.excepthook = _quiet_about_closed_pipes
    try:
        yield
        sys.stdout.flush()
    except VaprayError as error:
        _fail(error, f"{type(error).__name__}: {error}", error.exit_code, debug)
    except KeyboardInterrupt as error:
        _fail(error, f"{ended_by.word}. {interrupted}", ended_by.code, debug)
    except BrokenPipeError as error:
        # Nobody reads any more; what is still buffered must not fail a second time at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _fail(error, "", CLOSED_PIPE, debug)
    except Exception as error:
        first = str(error).strip().splitlines()[:1] or ["no text"]
        said = f"{type(error).__name__}: {first[0]}\nThis is a bug in vapray: run again with --debug, and report it."
        _fail(error, said, BUG, debug)
    finally:
        if signal.getitimer(signal.ITIMER_REAL)[1] == SECONDS_BETWEEN_REMINDERS:
            signal.setitimer(signal.ITIMER_REAL, 0)


def _fail(error: BaseException, message: str, exit_code: int, debug: bool) -> NoReturn:
    if debug:
        traceback.print_exception(error)
    elif message:
        print(message, file=sys.stderr)
    raise SystemExit(exit_code)


def _open_standard_streams() -> None:
    """Where stdin, stdout or stderr came closed, put nothing there: a file of ours would get its number."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            nothing = os.open(os.devnull, os.O_RDWR)
            if nothing != number:
                os.dup2(nothing, number)
                os.close(nothing)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


class _EndedBy:
    """Which signal ended the command. Both raise KeyboardInterrupt: from within its C++ Ray lets nothing else out."""

    word, code = "Interrupted", INTERRUPTED

    def terminate(self, number: int, frame: FrameType | None) -> NoReturn:
        """SIGTERM."""
        self.word, self.code = "Terminated", 128 + number
        _end()


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """The first Ctrl-C ends the work in good order; while Ray shuts down, a second one ends the process."""
    signal.signal(signal.SIGINT, _ignore)
    _end_at_the_next_interrupt()
    print("\nInterrupted: shutting down. Ctrl-C again ends at once.", file=sys.stderr, flush=True)
    _end()


def _end() -> NoReturn:
    """Raise, and raise again until it is heard: in a weakref's callback or a ``__del__`` Python drops exceptions."""

    def remind(number: int, frame: FrameType | None) -> None:
        if not _is_under_way():
            raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, remind)
    signal.setitimer(signal.ITIMER_REAL, SECONDS_BETWEEN_REMINDERS, SECONDS_BETWEEN_REMINDERS)
    raise KeyboardInterrupt


def _is_under_way() -> bool:
    """Whether the interrupt is being handled, as while Ray shuts down because of it."""
    error = sys.exc_info()[1]
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _ignore(number: int, frame: FrameType | None) -> None:
    """Python's part of a second Ctrl-C; the watching thread does the rest."""


def _end_at_the_next_interrupt() -> None:
    """A thread, because Python's own handlers wait while the main thread is inside of Ray's C++."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch_for_interrupts, args=(reader, writer), daemon=True).start()


def _watch_for_interrupts(reader: socket.socket, writer: socket.socket) -> None:
    while signal.SIGINT not in reader.recv(64):
        pass
    os._exit(INTERRUPTED)  # what it leaves of an embedded Ray is the reaper's


def _quiet_about_closed_pipes(failure: threading.ExceptHookArgs) -> None:
    if not isinstance(failure.exc_value, BrokenPipeError):
        threading.__excepthook__(failure)
