"""Train one network that has a method in it. This LightningModule treats all methods alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torchmetrics import MeanMetric

from glorabench.search.samplers import Sampler, uniform
from glorabench.search.space import PathSpace
from glorabench.training.averaging import AveragedWeights
from glorabench.training.objectives.base import Objective, WeightedObjective
from glorabench.training.optimizers import AdamW, Optimizer

_USUAL = AdamW(betas=(0.9, 0.999), eps=1e-8)
_TRAINED = "trained"  # of a checkpoint: the weights that a schedule-free optimiser trains


class NonFiniteLoss(ArithmeticError):
    """The training loss became NaN or infinite. The message names the step and, after step 0, the learning rate."""


class FineTuner(LightningModule):
    """An optimiser with a schedule on the trainable parameters of `net`.

    The randomness of a step, including the path of a supernet, depends only on (seed, step). The order of batches
    depends only on (seed, epoch). So a run that is resumed after an epoch gives the same result as one without a stop.
    All batches of a step have one path; each has dropout of its own, on each device.

    Args:
        net: the network to train; the objective calls it.
        objective: gives the loss of a batch and the outcome of each example.
        lr: peak learning rate.
        weight_decay: weight decay on the parameters that `decay` selects.
        decay: `matrices` (1-D parameters are exempt) or `all`.
        total_steps: optimiser steps of the whole training.
        lr_factor: learning rate of a step relative to `lr`.
        clip: largest norm of the gradient; None does not clip.
        seed: the seed of the run.
        sampler: chooses the path of each step if the network is a supernet.
        evaluation_split: name of the split that is evaluated during training.
        optimizer: the optimiser.
        accumulate: batches of a step.
    """

    def __init__(
        self,
        net: nn.Module,
        objective: Objective,
        *,
        lr: float,
        weight_decay: float,
        decay: str,
        total_steps: int,
        lr_factor: Callable[[int], float],
        clip: float | None,
        seed: int,
        sampler: Sampler = uniform,
        evaluation_split: str = "val",
        optimizer: Optimizer = _USUAL,
        accumulate: int = 1,
    ) -> None:
        super().__init__()
        self.strict_loading = False
        self.net, self.objective = net, objective
        self.lr, self.weight_decay, self.decay = lr, weight_decay, decay
        self.total_steps, self.lr_factor = total_steps, lr_factor
        self.clip, self.seed, self.sampler, self.evaluation_split = clip, seed, sampler, evaluation_split
        self.optimizer, self.accumulate = optimizer, accumulate
        self.averages = AveragedWeights()  # until there is an optimiser
        self.paths = PathSpace(net)
        self.metric_mean = MeanMetric()
        self.step_weight = 0  # of the batches of this step so far, where they differ in weight
        self.register_buffer("bad_step", torch.tensor(-1), persistent=False)
        self.outcomes: dict[str, list[Tensor]] = {}  # metric -> outcomes of each batch
        self.predictions: dict[str, list[Tensor]] = {}

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed the random generators from (seed, step, batch of the step), and draw the path of this step."""
        part = self.global_rank * self.accumulate + batch_idx % self.accumulate  # of the step
        words = np.random.SeedSequence([self.seed, self.global_step, *([part] if part else [])]).generate_state(1)
        torch.manual_seed(int(words[0]))  # torch's CPU generator uses only 32 bits of a seed
        if self.paths.is_supernet and batch_idx % self.accumulate == 0:  # all batches of a step have one path
            self.paths.set(self.sampler(self.paths, self.seed, self.global_step))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Loss of a batch. The step of a bad loss stays on the device and is read once an epoch, to save time."""
        loss = self.objective.loss(self.net, batch)
        healthy = loss.detach().isfinite() | (self.bad_step >= 0)
        self.bad_step = torch.where(healthy, self.bad_step, self.global_step)
        size, several = self.objective.size(batch), self.trainer.world_size > 1
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=size, sync_dist=several)
        if self.accumulate == 1 or not isinstance(self.objective, WeightedObjective):
            return loss
        weight = self.objective.weight(batch)
        self.step_weight += weight
        return loss * weight

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Weigh the batches of the step, then clip the gradient. The Trainer refuses to clip for a fused optimiser in
        mixed precision; bf16 needs no unscaling, so here it is safe."""
        if self.step_weight:  # the Trainer has divided by the number of batches, whatever their weights are
            for parameter in self.net.parameters():
                if parameter.grad is not None:
                    parameter.grad.mul_(self.accumulate / self.step_weight)
            self.step_weight = 0
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_((p for p in self.net.parameters() if p.grad is not None), self.clip)

    def on_train_end(self) -> None:
        """Check the parameters, which the last step may have made infinite although its loss was finite.

        Raises:
            NonFiniteLoss: naming the step.
        """
        finite_flags = [p.detach().isfinite().all() for p in self.net.parameters() if p.requires_grad]
        if not bool(torch.stack(finite_flags).all()):
            raise self._not_finite(self.total_steps - 1)

    def on_train_epoch_end(self) -> None:
        """Stop on a loss that is not finite, on whatever device.

        Raises:
            NonFiniteLoss: naming the first such step.
        """
        step = int(self.trainer.strategy.reduce(self.bad_step, reduce_op="max"))
        if step >= 0:
            raise self._not_finite(step)

    def _not_finite(self, step: int) -> NonFiniteLoss:
        text = f"the loss is not finite at step {step} of {self.total_steps}"
        if step == 0:  # no update has been made: no learning rate is to blame
            return NonFiniteLoss(
                f"{text}, before anything was trained: the weights of the backbone or the inputs hold values that are "
                "not finite, or too large for train.precision; look at backbone.weights_from and the data"
            )
        rate = self.lr * self.lr_factor(step)
        return NonFiniteLoss(
            f"{text}, learning rate {rate:.3g}: lower train.lr, lengthen train.warmup_epochs or set train.clip"
        )

    def on_validation_start(self) -> None:
        """Evaluate the averages, where the optimiser has some."""
        self.averages.show()

    def on_validation_end(self) -> None:
        """Train on."""
        self.averages.hide()

    def end_with_averages(self) -> None:
        """Leave the averages in the network, where the optimiser has some: they are the result of its training."""
        self.averages.show()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The weights of a checkpoint are the averages; what is trained stands beside them, so that it goes on."""
        if self.averages.exist:
            checkpoint[_TRAINED] = checkpoint["state_dict"]
            with self.averages.visible():
                averages = {name: tensor.detach().clone() for name, tensor in self.state_dict().items()}
            checkpoint["state_dict"] = averages

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with what is trained."""
        if _TRAINED in checkpoint:
            checkpoint["state_dict"] = checkpoint[_TRAINED]

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Accumulate the deciding metric on the split that is evaluated during training."""
        metric = self.objective.metrics[0]
        values = self.objective.evaluate(self.net, batch).values[metric.name]
        self.metric_mean.update(values.float())
        name = f"{self.evaluation_split}/{metric.name}"
        self.log(name, self.metric_mean, on_step=False, on_epoch=True, batch_size=len(values))

    def on_test_epoch_start(self) -> None:
        """Delete earlier outcomes."""
        self.outcomes, self.predictions = {}, {}

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Keep the outcomes and the predictions of a batch of a test set."""
        evaluation = self.objective.evaluate(self.net, batch, dataloader_idx)
        for name, values in evaluation.values.items():
            self.outcomes.setdefault(name, []).append(values)
        for name, values in evaluation.predictions.items():
            self.predictions.setdefault(name, []).append(values)

    def configure_optimizers(self) -> Any:
        """The optimiser with and without weight decay. The learning rate changes at every step."""
        trainable = [p for p in self.net.parameters() if p.requires_grad]
        exempt = [p for p in trainable if p.ndim < 2 and self.decay == "matrices"]
        exempt_ids = {id(p) for p in exempt}
        groups = [
            {"params": [p for p in trainable if id(p) not in exempt_ids], "weight_decay": self.weight_decay},
            {"params": exempt, "weight_decay": 0.0},
        ]
        scales = getattr(self._trainer and self._trainer.precision_plugin, "scaler", None) is not None
        optimizer = self.optimizer.build([group for group in groups if group["params"]], self.lr, fused=not scales)
        self.averages = AveragedWeights(optimizer)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.lr_factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Only the trainable tensors. The frozen ones come from the weights of the backbone."""
        trainable_names = {name for name, p in self.named_parameters() if p.requires_grad}
        state: Mapping[str, Any] = super().state_dict(*args, **kwargs)
        return {name: value for name, value in state.items() if name in trainable_names}
