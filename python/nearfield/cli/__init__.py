"""The command `nearfield`: look into stores and indexes, move rows in and out, search, measure.

The idea: a command is a function from its arguments to an answer, which is data and can be shown as text. So
`--json` is nothing but the data, and every command can be tested without a process. What goes wrong is one
line on standard error, and status 1; arguments that cannot be understood are status 2, as everywhere.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from nearfield.cli import ask, look, measure, move
from nearfield.cli.answer import Answer, as_json
from nearfield.errors import NearfieldError

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; those of the process if not given.

    Returns
    -------
    int
        0, or 1 where something went wrong or was found to be damaged.
    """
    arguments = _parser().parse_args(argv)
    try:
        answer: Answer = arguments.run(arguments)
    except KeyboardInterrupt:
        return 130
    except (NearfieldError, OSError, ValueError, TypeError, KeyError, ImportError, MemoryError) as error:
        _complain(error, arguments.json)
        return 1
    try:
        print(as_json(answer.data) if arguments.json else answer.text, flush=True)
    except BrokenPipeError:  # whoever read has seen enough; what is left must not be tried again at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return answer.status


def _parser() -> argparse.ArgumentParser:
    from nearfield import __version__

    parser = argparse.ArgumentParser(prog="nearfield", description="Vector search, from the command line.")
    parser.add_argument("--version", action="version", version=f"nearfield {__version__}")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--json", action="store_true", help="print JSON instead of text")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (look, move, ask, measure):
        module.register(commands, shared)
    return parser


def _complain(error: BaseException, in_json: bool) -> None:
    kind, message = type(error).__name__, str(error) or type(error).__name__
    if in_json:
        print(json.dumps({"error": kind, "message": message}), file=sys.stderr)
    else:
        print(f"nearfield: {message}", file=sys.stderr)
