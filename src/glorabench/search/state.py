"""The state of a search: one JSON line for what is searched, then one for each candidate, as soon as it is scored."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from glorabench.errors import BadInput
from glorabench.search.space import Genome

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def text(genome: Genome) -> str:
    """A genome as one digit for each gene."""
    return "".join(_DIGITS[choice] for choice in genome)


def parse(word: str) -> Genome:
    """The inverse of `text`."""
    return tuple(_DIGITS.index(digit) for digit in word)


class State:
    """The scored candidates of a search, in a file that a kill cannot spoil.

    Args:
        path: of the file; made if it does not exist.
        header: what is searched; a file of something else is refused.

    Raises:
        BadInput: the file is of another search, or cannot be written.
    """

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        self.path = path
        header = json.loads(json.dumps(header))  # as it is read back: tuples are lists
        lines = list(_whole_lines(path))
        if lines and lines[0] != header:
            differing = sorted(k for k in {*lines[0], *header} if lines[0].get(k) != header.get(k))
            raise BadInput(
                f"{path} is the state of another search ({', '.join(differing)} differ): remove it to search anew, or "
                "set results_dir=FOLDER"
            )
        self.told: dict[Genome, dict[str, Any]] = {
            parse(line["genome"]): line for line in lines[1:] if "genome" in line
        }
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_suffix(f".{os.getpid()}.tmp")  # without the half line that a kill may have left
            draft.write_text("".join(json.dumps(line) + "\n" for line in lines or [header]))
            draft.replace(path)
            self._file = path.open("a")
        except OSError as error:
            raise self._unwritable(error) from error

    def tell(self, genome: Genome, line: dict[str, Any]) -> None:
        """Keep a scored candidate.

        Raises:
            BadInput: the disk is full.
        """
        self.told[genome] = {"genome": text(genome), **line}
        try:
            self._file.write(json.dumps(self.told[genome]) + "\n")
            self._file.flush()
        except OSError as error:
            raise self._unwritable(error) from error

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):  # every line was flushed; one that the full disk refused is refused again
            self._file.close()

    def _unwritable(self, error: OSError) -> BadInput:
        return BadInput(
            f"the search state {self.path} cannot be written ({error.strerror}). Free space and give the same command "
            "again: the search goes on from its last candidate."
        )


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines that are whole.

    Raises:
        BadInput: the file cannot be read, or not even its first line is whole, so that it is something else.
    """
    if not path.exists():
        return
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError as error:
        raise BadInput(f"the search state {path} cannot be read ({error.strerror})") from error
    for number, line in enumerate(lines):
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if not isinstance(found, dict) and number == 0:
            raise BadInput(f"{path} is no state of a search: move it away or set results_dir=FOLDER")
        if isinstance(found, dict):
            yield found
