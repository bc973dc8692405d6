"""The command line: one file a command, and here the one way out of all of them.

Owns what a command prints when it fails and what it exits with. A command returns its exit code or raises a typed
error; it never exits by itself.
"""

import errno
import io
import json
import os
import sys
import traceback
from collections.abc import Sequence

import click

from pumas_agent.cli.completion import VARIABLE, complete
from pumas_agent.cli.output import finding_line, printable
from pumas_agent.cli.program import program
from pumas_agent.contracts.errors import InternalError, PumasError

__all__ = ["main"]

USAGE = 64
INTERRUPTED = 130
BROKEN_PIPE = 141
_FAILED = 2
_OUTPUT_FULL = {errno.ENOSPC, errno.EIO}


class _Usage(PumasError):
    """The command was called with arguments it does not have."""

    code = "usage"
    exit_code = USAGE


class _Interrupted(PumasError):
    """The person at the keyboard stopped the command, or said no."""

    code = "interrupted"
    exit_code = INTERRUPTED


def main(args: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code: that of the error when there is one, 130 when interrupted.

    With `--json` an error is one object on stdout, else lines on stderr.
    """
    words = list(sys.argv[1:] if args is None else args)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a locale without the letter is no reason to stop
    try:
        asked = os.environ.get(VARIABLE)
        exit_code = complete(program, asked) if asked else _run(words)
        if sys.stdout is not None:  # closed by the shell: >&-
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader has all it wanted. Nothing may be flushed into the closed pipe when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:  # only writing the output gets here; what a command meets is reported in `_run`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        click.echo(f"error: the output cannot be written: {error.strerror}", err=True)
        return _FAILED
    return exit_code


def _run(words: list[str]) -> int:
    try:
        with program.make_context("pumas-agent", list(words)) as ctx:
            return int(program.invoke(ctx) or 0)
    except click.exceptions.Exit as done:  # --help and --version
        return done.exit_code
    except PumasError as error:
        return _report(error, words)
    except click.ClickException as wrong:
        context = wrong.ctx if isinstance(wrong, click.UsageError) else None
        hint = f"{context.command_path} --help shows what it takes" if context else None
        return _report(_Usage(wrong.format_message(), hint=hint), words)
    except (KeyboardInterrupt, click.Abort):
        return _report(_Interrupted("interrupted"), words)
    except Exception as fault:  # the last handler: exit code 1 has another meaning than Python gives it
        if isinstance(fault, BrokenPipeError) or (isinstance(fault, OSError) and fault.errno in _OUTPUT_FULL):
            raise
        _say(traceback.format_exc().rstrip("\n"))
        return _report(InternalError(f"{type(fault).__name__}: {fault}", hint="this is a fault of pumas-agent"), words)


def _report(error: PumasError, words: Sequence[str]) -> int:
    asked = words[: words.index("--")] if "--" in words else words
    if "--json" in asked:
        body = {"code": error.code, "message": error.message, "hint": error.hint, "data": error.data}
        click.echo(json.dumps({"schema": "pumas-agent/error/1", "error": body}))
        return error.exit_code
    _say(f"error: {printable(error.message)}")
    for finding in error.data.get("validation_errors") or ():
        _say(f"  {finding_line(finding)}")
    if error.hint:
        _say(f"hint: {printable(error.hint)}")
    return error.exit_code


def _say(text: str) -> None:
    """On stderr. In the journal of systemd as an error: why a service did not start has to be found there."""
    if "JOURNAL_STREAM" in os.environ and sys.stderr is not None:
        from pumas_agent.health import is_journal, with_priority

        text = with_priority(text, "error") if is_journal(sys.stderr, os.environ) else text
    click.echo(text, err=True)
