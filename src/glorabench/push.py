"""Push: the records of a results folder into W&B, offline or online, each once; an interrupted push goes on."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from glorabench.errors import BadInput, first_line
from glorabench.files import safe_name, write_text
from glorabench.gathered import gathered
from glorabench.mirror import OTHERWISE, Target, reach, send, staged
from glorabench.replay import Replay, replays


class Pushed:
    """What was pushed, by target: a small file that the next push reads.

    Args:
        path: of the file; written after every run, whole or not at all.

    Raises:
        BadInput: the file is damaged.
    """

    def __init__(self, path: Path, target: Target) -> None:
        self.path, self.key = path, f"{target.mode} {target.place}"
        try:
            self.all: dict[str, dict[str, str]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            if not all(isinstance(own, dict) for own in self.all.values()):
                raise ValueError("it holds no names and values")
            self.own = self.all.setdefault(self.key, {})
        except (OSError, ValueError, AttributeError, RecursionError) as error:
            raise BadInput(
                f"{path} is damaged ({first_line(error)}): remove it, and everything is pushed again"
            ) from error

    def has(self, made: Replay) -> bool:
        """True when exactly this was pushed."""
        return self.own.get(made.id) == made.digest

    def add(self, made: Replay) -> None:
        """Note that this was pushed."""
        self.own[made.id] = made.digest
        write_text(self.path, json.dumps(self.all, indent=1, sort_keys=True) + "\n", "what was pushed stays pushed")


def main(
    suite: str | None, results: Path | None, project: str, entity: str | None, mode: str, again: bool = False
) -> int:
    """The `push` command.

    Args:
        suite: None is every suite of the folder.
        results: folder of the records; None is the first of results/local and results that has any.
        project, entity, mode: see `Target`.
        again: also what was pushed before.

    Raises:
        BadInput: there are no records, or W&B cannot be reached or refuses.
    """
    folder, records = gathered(suite, results)
    target = Target(project, entity, mode)
    pushed, made = Pushed(folder / "wandb" / "pushed.json", target), replays(records)
    waiting = [one for one in made if again or not pushed.has(one)]
    if waiting:
        os.environ.setdefault("WANDB_SILENT", "true")
        with _files(folder, target) as files:
            for one in _told(waiting):
                try:
                    send(one, target, files)
                except OSError as error:  # the disk is full, or the folder is gone
                    raise BadInput(f"{files} cannot be written ({error.strerror or error}). {OTHERWISE}") from error
                except Exception as error:
                    raise BadInput(f"W&B refuses {one.name} ({first_line(error)}). {OTHERWISE}") from error
                pushed.add(one)
    where = "online" if mode == "online" else f"offline, in {_offline(folder, target) / 'wandb'}"
    print(f"{len(waiting)} of {len(made)} runs pushed to {target.place} ({where}); the others were there already")
    return 0


def _told(waiting: list[Replay]) -> Iterator[Replay]:
    """One after the other, with a bar on a terminal and lines elsewhere."""
    if sys.stdout.isatty():
        from rich.progress import track

        yield from track(waiting, "pushing", transient=True)
        return
    for index, one in enumerate(waiting, 1):
        yield one
        print(f"{index}/{len(waiting)}  {one.name}  {one.id}", flush=True)


def _offline(folder: Path, target: Target) -> Path:
    return folder / "wandb" / "pushed" / Path(*map(safe_name, target.place.split("/")))


@contextmanager
def _files(folder: Path, target: Target) -> Iterator[Path]:
    """Where W&B keeps its files meanwhile: for good when offline, else below the temporary folder.

    Raises:
        BadInput: W&B is asked online and does not answer, or the folder cannot be written.
    """
    if target.mode == "online":
        reach()
        made = tempfile.TemporaryDirectory(prefix="glorabench-wandb-", ignore_cleanup_errors=True)
        with made as temporary, staged(Path(temporary)):
            yield Path(temporary)
        return
    kept = _offline(folder, target)
    try:
        kept.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{kept} cannot be written ({error.strerror})") from error
    with staged(kept):
        yield kept
