"""One training on several devices: a process for each, which has its part of every batch.

The process of the command leads: it makes the run, writes checkpoints and history, and tests alone. It starts the
others for one training and ends them with it.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.strategies import DDPStrategy

from glorabench.errors import BadInput
from glorabench.training.environment import OneOfSeveral, OneProcess

_PATIENCE = 60.0  # seconds that the other processes have to end after their last step


@dataclass(frozen=True)
class Share:
    """The share of a training that a process has.

    Args:
        rank: which process; 0 leads.
        devices: of the training, one for each process.
        port: by which the processes find each other on this machine.
    """

    rank: int = 0
    devices: int = 1
    port: int = 0

    def environment(self) -> OneProcess:
        """What Lightning has to know of the processes."""
        return OneProcess() if self.devices == 1 else OneOfSeveral(self.rank, self.devices, self.port)

    def strategy(self, find_unused: bool) -> DDPStrategy | str:
        """How gradients are shared; DDP has to be told if a step may leave parameters without one."""
        return "auto" if self.devices == 1 else DDPStrategy(find_unused_parameters=find_unused)


ALONE = Share()


def share_of_leader(devices: int) -> Share:
    """The share of the process that leads a training on some devices of this machine."""
    if devices == 1:
        return ALONE
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return Share(0, devices, probe.getsockname()[1])


def check_devices(train: Mapping[str, Any]) -> None:
    """Refuse a training that cannot be shared.

    Raises:
        BadInput: the machine has fewer GPUs, or a batch has no equal parts.
    """
    devices, gpus = train.get("devices", 1), torch.cuda.device_count()
    if train["batch_size"] % devices:
        raise BadInput(
            f"train.devices={devices} does not divide train.batch_size={train['batch_size']}, which is shared by all "
            "devices: give a multiple"
        )
    if torch.cuda.is_available() and devices > gpus:
        raise BadInput(f"train.devices={devices}, but this machine shows {gpus}: give at most {gpus}")


@contextmanager
def shared_training(
    share: Share, config: Mapping[str, Any], stage: str, folder: Path, start: Path | None
) -> Iterator[None]:
    """Inside the block the other processes of a training run, if this one leads any.

    Args:
        share: of this process.
        config: of the stage.
        stage: its name.
        folder: of its checkpoints.
        start: the checkpoint from which all processes go on.

    Raises:
        RuntimeError: another process has failed; what it says stands on standard error.
    """
    if share.devices == 1 or share.rank > 0:
        yield
        return
    processes = []
    try:
        for rank in range(1, share.devices):
            job = {"share": asdict(Share(rank, share.devices, share.port)), "config": config, "stage": stage}
            processes.append(_start({**job, "folder": str(folder), "start": None if start is None else str(start)}))
        yield
        for process in processes:
            if process.wait(_PATIENCE):
                raise RuntimeError("it ended early")
    except Exception as error:
        codes = [process.poll() for process in processes]
        if any(codes):
            raise RuntimeError(f"a process of train.devices={share.devices} failed, see above ({error})") from error
        raise
    finally:
        for process in processes:
            process.kill()
            process.wait()
        if torch.distributed.is_initialized():  # else metrics of this process alone would wait for the others
            torch.distributed.destroy_process_group()


def _start(job: Mapping[str, Any]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "glorabench.training.worker"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stdin is not None
    process.stdin.write(json.dumps(job).encode())
    process.stdin.close()
    return process
