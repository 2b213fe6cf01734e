"""Run Lightning as one process for each device, whatever the variables of a launcher say."""

from __future__ import annotations

from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.rank_zero import rank_zero_only


class OneProcess(LightningEnvironment):
    """A run is one process on one device, also inside `sbatch --ntasks=4`, `torchrun` or `mpirun`.

    By itself Lightning takes a rank and a world size from the variables of these launchers. Under Slurm it also saves,
    requeues and restores the run. Here each rank is a process of its own, and they share one results folder (see
    `ownership`).
    """

    def __init__(self) -> None:
        super().__init__()
        be_first()

    @property
    def creates_processes_externally(self) -> bool:
        """False: no launcher starts more processes for a run."""
        return False

    def local_rank(self) -> int:
        """0: there is only one process."""
        return 0

    def node_rank(self) -> int:
        """0: there is only one node."""
        return 0

    def teardown(self) -> None:
        """Leave the variables of the launcher as they are."""


class OneOfSeveral(OneProcess):
    """One of the processes of a training on several devices of this machine (see `devices`).

    Args:
        rank: which of them; the first one leads.
        processes: how many.
        port: by which they find each other.
    """

    def __init__(self, rank: int, processes: int, port: int) -> None:
        super().__init__()
        self._place, self._processes, self._port = rank, processes, port
        rank_zero_only.rank = rank  # type: ignore[attr-defined]

    @property
    def creates_processes_externally(self) -> bool:
        """Lightning starts none: the leader does."""
        return True

    @property
    def main_address(self) -> str:
        """This machine."""
        return "127.0.0.1"

    @property
    def main_port(self) -> int:
        """By which they find each other."""
        return self._port

    def world_size(self) -> int:
        """How many processes."""
        return self._processes

    def global_rank(self) -> int:
        """Which of them this is."""
        return self._place

    def local_rank(self) -> int:
        """The same: they are on one machine."""
        return self._place

    def set_world_size(self, size: int) -> None:
        """It is known."""

    def set_global_rank(self, rank: int) -> None:
        """It is known."""


def be_first() -> None:
    """Make Lightning log and print in this process. Otherwise it takes its rank from RANK or SLURM_PROCID."""
    rank_zero_only.rank = 0  # type: ignore[attr-defined]
