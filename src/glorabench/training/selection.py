"""The rule that selects the epoch of the result, and whether the test split was used to choose something."""

from __future__ import annotations

import math
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from glorabench.errors import BadInput, check_whole_number, one_of
from glorabench.training.finetuner import FineTuner

BEST = "best_test_epoch"
RULES = ("last_epoch", BEST)
EVERY = 10  # epochs between test evaluations in the code of FacT, Convpass, RepAdapter and NOAH


def check_selection(config: dict[str, Any]) -> None:
    """Refuse settings of the selection that are unknown or contradict each other.

    Raises:
        BadInput: naming the key.
    """
    selection = config["selection"]
    rule, every, tuned_on = (selection.get(key) for key in ("rule", "every", "tuned_on"))
    one_of("selection.rule", rule, RULES)
    if tuned_on is not None:
        one_of("selection.tuned_on", tuned_on, ("test",))
    if every is not None:
        check_whole_number("selection.every", every)
        if rule != BEST:
            raise BadInput(f"selection.every is of selection.rule={BEST}: nothing else looks at test during training")
    if rule != BEST:
        return
    if (selection["fit_on"], selection["report_on"]) != ("trainval", "test"):
        raise BadInput(f"selection.rule={BEST} needs selection.fit_on=trainval selection.report_on=test")
    if config.get("search"):
        raise BadInput(f"selection.rule={BEST} is for one training; a search chooses a path: search.on=test")


def is_contaminated(config: dict[str, Any]) -> bool:
    """True if the path, the epoch or the hyper-parameters were chosen on the test split."""
    selection, search = config["selection"], config.get("search") or {}
    return search.get("on") == "test" or selection["rule"] == BEST or selection.get("tuned_on") == "test"


def split_to_watch(config: dict[str, Any]) -> tuple[str, int] | None:
    """The split that is evaluated during training and the epochs between evaluations, or None without evaluations."""
    selection = config["selection"]
    if selection["rule"] == BEST:
        return "test", min(selection.get("every") or EVERY, config["train"]["epochs"])
    return ("val", 1) if selection["fit_on"] == "train" else None


class BestEpoch(Callback):
    """Keeps the trained tensors of the best epoch; if two epochs are equally good, the earlier one wins."""

    def __init__(self) -> None:
        self.epoch, self.score = 0, -math.inf
        self.tensors: dict[str, Tensor] = {}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Copy the trained tensors if this epoch is better than all earlier ones."""
        assert isinstance(pl_module, FineTuner)
        metric = pl_module.objective.metrics[0]
        score = metric.sign * float(trainer.callback_metrics[f"{pl_module.evaluation_split}/{metric.name}"])
        if score > self.score:
            self.epoch, self.score = trainer.current_epoch + 1, score
            self.tensors = {name: tensor.detach().cpu().clone() for name, tensor in pl_module.state_dict().items()}

    def restore(self, tuner: FineTuner) -> None:
        """Load the tensors of the best epoch into the network."""
        tuner.load_state_dict(self.tensors, strict=False)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"epoch": self.epoch, "best_score": self.score, "best_tensors": self.tensors}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint, also from one of an earlier release, which has the keys `top` and `kept`."""
        score, tensors = ("top", "kept") if "top" in state_dict else ("best_score", "best_tensors")
        self.epoch, self.score, self.tensors = state_dict["epoch"], state_dict[score], dict(state_dict[tensors])
