"""Exit codes, error output and signal handling of the CLI."""

import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from typer import CallbackParam

from vapray.errors import ConfigError, VaprayError

__all__ = ["Debug", "exit_on_error", "write_page"]

Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
"""Option of every command."""

INTERRUPTED = 130
RESUME_HINT = "Committed work is kept; the same command continues from there."
SECONDS_BETWEEN_REMINDERS = 2.0
BUG = CLOSED_PIPE = 1  # rich and click exit with this code when the pipe is closed


@contextmanager
def exit_on_error(debug: bool, *, interrupted: str = RESUME_HINT) -> Iterator[None]:
    """Turn an error or signal that ends a block into one message and an exit code.

    Args:
        debug: Print tracebacks.
        interrupted: Message about the state after Ctrl-C or SIGTERM.
    """
    _open_standard_streams()
    signals = SignalHandlers()
    signals.install()
    threading.excepthook = _quiet_about_closed_pipes
    try:
        yield
        sys.stdout.flush()
    except VaprayError as error:
        _fail(error, f"{type(error).__name__}: {error}", error.exit_code, debug)
    except KeyboardInterrupt as error:
        _fail(error, f"{signals.reason}. {interrupted}", signals.exit_code, debug)
    except BrokenPipeError as error:
        # The reader is gone: buffered output must not fail a second time at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _fail(error, "", CLOSED_PIPE, debug)
    except Exception as error:
        first = str(error).strip().splitlines()[:1] or ["no text"]
        said = f"{type(error).__name__}: {first[0]}\nThis is a bug in vapray. Run again with --debug and report it."
        _fail(error, said, BUG, debug)
    finally:
        signals.restore()


def write_page(path: str, page: str) -> None:
    """Write a page to the file of ``--html`` and print its path.

    Raises:
        ConfigError: the file cannot be written.
    """
    try:
        Path(path).write_text(page, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--html {path}: cannot be written ({error.strerror}). Fix: give another file.") from None
    print(f"page  {path}")


def _fail(error: BaseException, message: str, exit_code: int, debug: bool) -> NoReturn:
    if debug:
        traceback.print_exception(error)
    elif message:
        print(message, file=sys.stderr)
    raise SystemExit(exit_code)


def _open_standard_streams() -> None:
    """Open /dev/null for a closed stdin, stdout or stderr; the next opened file would get its number."""
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


class SignalHandlers:
    """Handlers of SIGINT and SIGTERM. Both raise KeyboardInterrupt: Ray's C++ lets nothing else through.

    Attributes:
        reason: End of the command, as a word.
        exit_code: Exit code of the command.
    """

    def __init__(self) -> None:
        self.reason, self.exit_code = "Interrupted", INTERRUPTED
        self._is_ending = False
        self._previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def install(self) -> None:
        """Handle both signals from now on."""
        signal.signal(signal.SIGINT, self._interrupt)
        signal.signal(signal.SIGTERM, self._terminate)

    def restore(self) -> None:
        """Restore the previous handlers; after a signal the process is ending, so only stop the reminders."""
        if self._is_ending:
            signal.setitimer(signal.ITIMER_REAL, 0)
            return
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _terminate(self, number: int, frame: FrameType | None) -> NoReturn:
        self.reason, self.exit_code = "Terminated", 128 + number
        self._raise_keyboard_interrupt()

    def _interrupt(self, number: int, frame: FrameType | None) -> NoReturn:
        """Handle the first Ctrl-C by an orderly shutdown; a second one, while Ray shuts down, ends the process."""
        signal.signal(signal.SIGINT, _ignore)
        _end_at_the_next_interrupt()
        print("\nInterrupted: shutting down. Ctrl-C again ends at once.", file=sys.stderr, flush=True)
        self._raise_keyboard_interrupt()

    def _raise_keyboard_interrupt(self) -> NoReturn:
        """Raise until the exception arrives: Python drops exceptions in weakref callbacks and in ``__del__``."""
        self._is_ending = True
        signal.signal(signal.SIGALRM, _remind)
        signal.setitimer(signal.ITIMER_REAL, SECONDS_BETWEEN_REMINDERS, SECONDS_BETWEEN_REMINDERS)
        raise KeyboardInterrupt


def _remind(number: int, frame: FrameType | None) -> None:
    if not _is_under_way():
        raise KeyboardInterrupt


def _is_under_way() -> bool:
    """Check that the interrupt is being handled, for example while Ray shuts down because of it."""
    error = sys.exc_info()[1]
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _ignore(number: int, frame: FrameType | None) -> None:
    """Ignore a second Ctrl-C in Python; the watching thread ends the process."""


def _end_at_the_next_interrupt() -> None:
    """Watch for a second Ctrl-C in a thread: Python's handlers wait while the main thread is inside Ray's C++."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch_for_interrupts, args=(reader, writer), daemon=True).start()


def _watch_for_interrupts(reader: socket.socket, writer: socket.socket) -> None:
    while signal.SIGINT not in reader.recv(64):
        pass
    os._exit(INTERRUPTED)  # the reaper ends what is left of an embedded Ray


def _quiet_about_closed_pipes(failure: threading.ExceptHookArgs) -> None:
    if not isinstance(failure.exc_value, BrokenPipeError):
        threading.__excepthook__(failure)


def renamed_option(new: str) -> Callable[[CallbackParam, Any], Any]:
    """Callback of an option's hidden old name; prints the new name if the old one is in use."""

    def check(param: CallbackParam, value: Any) -> Any:
        if value:
            warn_of_old_name(param.opts[0], new)
        return value

    return check


def warn_of_old_name(old: str, new: str) -> None:
    """Print the new name of an option or command, once per process."""
    from vapray.config.renamed_keys import rename_message, warn_once  # not at the top, so that ``--help`` is fast

    warn_once(rename_message(old, new, "command line"))
