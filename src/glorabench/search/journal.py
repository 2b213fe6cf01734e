"""The journal of a search on disk: a JSON line for the search, then one for each candidate as soon as it is scored."""

from __future__ import annotations

import hashlib
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from glorabench import files
from glorabench.errors import BadInput
from glorabench.records import record
from glorabench.search.space import Genome

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_SUM = "sum"  # key of the checksum
_FIX = "free space and give the same command again: the search goes on from its last candidate"


def genome_text(genome: Genome) -> str:
    """A genome as one digit for each gene."""
    return "".join(_DIGITS[choice] for choice in genome)


def genome_of(word: str) -> Genome:
    """The inverse of `genome_text`."""
    return tuple(_DIGITS.index(digit) for digit in word)


class SearchJournal:
    """The scored candidates of a search, in a file that a kill cannot spoil.

    Args:
        path: of the file; made if it does not exist.
        header: the search; a file of another search is refused.

    Raises:
        BadInput: the file is of another search, or cannot be read or written.
    """

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        self.path = path
        self.header: dict[str, Any] = json.loads(json.dumps(header))  # as it is read again, with lists for tuples
        self.lines: dict[Genome, dict[str, Any]] = {genome_of(line["genome"]): line for line in self._read()}
        files.write_text(path, "".join(map(self._line, [self.header, *self.lines.values()])), _FIX)
        try:
            self._file = path.open("a")
        except OSError as error:
            raise self._write_error(error) from error

    def add(self, genome: Genome, line: dict[str, Any]) -> None:
        """Write a scored candidate.

        Raises:
            BadInput: the disk is full.
        """
        self.lines[genome] = {"genome": genome_text(genome), **line}
        try:
            self._file.write(self._line(self.lines[genome]))
            self._file.flush()
        except OSError as error:
            raise self._write_error(error) from error

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):  # every line is on disk, except one that did not fit on a full disk
            self._file.close()

    def _write_error(self, error: OSError) -> BadInput:
        return BadInput(f"the search state {self.path} cannot be written ({error.strerror}): {_FIX}")

    def _line(self, content: dict[str, Any]) -> str:
        return json.dumps({**content, _SUM: _checksum(self.header, content)}) + "\n"

    def _read(self) -> list[dict[str, Any]]:
        """The undamaged lines of this search in the file; a file without any is set aside.

        Raises:
            BadInput: the file is of another search, or cannot be read.
        """
        lines = _lines(self.path)
        if not lines:
            return []
        (header, digest), rest = lines[0], lines[1:]
        if header != self.header and digest == _checksum(header, header):
            differences = sorted(k for k in {*header, *self.header} if header.get(k) != self.header.get(k))
            raise BadInput(
                f"{self.path} is the state of another search ({', '.join(differences)} differ): remove it to search "
                "anew, or set results_dir=FOLDER"
            )
        whole = [line for line, digest in rest if digest == _checksum(self.header, line)]
        is_last_torn = bool(rest) and not rest[-1][0]  # a kill may cut the last line off: that is no damage
        if header != self.header and not whole:
            aside = record.set_aside(self.path)
            print(f"warning: {self.path} is damaged; kept as {aside.name}, the search starts again", file=sys.stderr)
        elif damage_count := len(rest) - len(whole) - is_last_torn:
            warning = f"warning: {self.path} has damaged lines ({damage_count}): their candidates are scored again"
            print(warning, file=sys.stderr)
        return whole


def _checksum(header: dict[str, Any], content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps([header, content], sort_keys=True).encode()).hexdigest()[:16]


def _lines(path: Path) -> list[tuple[dict[str, Any], Any]]:
    """Each line and its checksum. A line that is no JSON object gives an empty mapping.

    Raises:
        BadInput: the file cannot be read.
    """
    try:
        if not path.exists():
            return []
        if not path.is_file():
            raise OSError(0, "it is no regular file")
        words = path.read_text(errors="replace").splitlines()
    except OSError as error:
        raise BadInput(
            f"the search state {path} cannot be read ({error.strerror}): "
            "check its permissions, or set results_dir=FOLDER"
        ) from error
    return [_object(word) for word in words]


def _object(word: str) -> tuple[dict[str, Any], Any]:
    with suppress(ValueError, RecursionError):
        content = json.loads(word)
        if isinstance(content, dict):
            return content, content.pop(_SUM, None)
    return {}, None
