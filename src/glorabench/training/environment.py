"""Where Lightning runs: one process on one device, whatever a launcher's variables say."""

from __future__ import annotations

from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.rank_zero import rank_zero_only


class OneProcess(LightningEnvironment):
    """A run is one process on one device, also inside `sbatch --ntasks=4`, `torchrun` or `mpirun`.

    Lightning would take a rank and a world size from their variables, and under Slurm it would save, requeue and
    restore the run by itself. The ranks of such a launcher are several users of one results folder (see `ownership`).
    """

    def __init__(self) -> None:
        super().__init__()
        be_first()

    @property
    def creates_processes_externally(self) -> bool:
        """Nobody starts further processes of a run."""
        return False

    def local_rank(self) -> int:
        """The only one."""
        return 0

    def node_rank(self) -> int:
        """The only one."""
        return 0

    def teardown(self) -> None:
        """Leave the variables of the launcher as they are."""


def be_first() -> None:
    """Make Lightning's loggers and messages work in this process: it takes RANK or SLURM_PROCID for its rank."""
    rank_zero_only.rank = 0  # type: ignore[attr-defined]
