"""Run Lightning as one process on one device, whatever the variables of a launcher say."""

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


def be_first() -> None:
    """Make Lightning log and print in this process. Otherwise it takes its rank from RANK or SLURM_PROCID."""
    rank_zero_only.rank = 0  # type: ignore[attr-defined]
