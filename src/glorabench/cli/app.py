"""Start a command: what every command does about signals, output that nobody reads, and bad input. Light: no typer."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from glorabench.cli import streams
from glorabench.errors import BadInput, printable
from glorabench.training import signals

INTERRUPTED = 130
PRINTING = (
    "backbone",
    "count",
    "list",
    "show",
    "table",
    "compare",
    "choose",
    "cost",
    "forgetting",
    "optimism",
    "tuned",
)  # they do nothing else
RESUMABLE = ("run", "search", "push")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0 for success, 1 for a failed run, 2 for bad input, 130 after Ctrl-C or another signal.

    A reader that leaves (`... | head -1`) or a closed standard output is no error; a run goes on without it.
    """
    # a thread that waits in OpenMP soon sleeps instead of spinning: twice as fast where cores are shared
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # "no CUDA runtime" is no news here
    words = sys.argv[1:] if argv is None else list(argv)
    command = next((word for word in words if not word.startswith("-")), "")
    with streams.tolerate_broken_streams():
        try:
            with signals.handle_signals():
                if command in PRINTING:
                    streams.end_with_reader()
                code = _call(words)
                if code != INTERRUPTED and not signals.is_interrupted():
                    return code
        except BadInput as error:
            print(f"glorabench: {printable(str(error))}", file=sys.stderr)
            return 2
        except streams.ReaderLeft:
            return 0
        except KeyboardInterrupt:
            pass
        resume = "; the same command goes on from here" if command in RESUMABLE else ""
        print(f"\ninterrupted{resume}", file=sys.stderr)
        return INTERRUPTED


def _call(words: Sequence[str]) -> int:
    """Run the command; `doctor` also where typer is missing.

    Raises:
        BadInput: there is no such command, it refuses a word, or typer is missing.
    """
    if words == ["doctor"]:
        from glorabench.cli.doctor import doctor

        return doctor()
    try:
        from glorabench.cli.commands import call
    except ModuleNotFoundError as error:
        if error.name != "typer":
            raise
        raise BadInput("the package typer is not installed: `glorabench doctor` says what is missing") from error
    return call(words)
