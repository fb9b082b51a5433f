"""Learning rate, weight decay and epsilon, epoch by epoch (Sec. 4, "Adaptive learning rate").

The epochs at which the rate falls are the recipes', in config/experiments.yaml.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from eps_resnet.experiments.models import Recipe, Run

# The reference code averages the number of closed gates with a factor of 0.95 a step, in epochs of 390 steps (CIFAR).
# In epochs of another length the average forgets as much in an epoch as it does there.
RUNNING_DECAY, RUNNING_STEPS = 0.95, 390
RUNNING_RISE = 0.999  # the reference code asks for 1, which one clean loss reaches through rounding alone


@dataclass
class RateSchedule:
    """The learning rate: steps down at fixed epochs, and up again whenever a block is lost.

    `observe_epoch` is told, after each epoch, how many blocks are discarded. If there is one more than an epoch before,
    the rate restarts at its start value and falls after `adaptive_steps` epochs (paper, Sec. 4). After a
    restart at the end of epoch E, with steps at 41 and 61, epoch E+1 is the first at the full rate and E+42 the first
    at a tenth of it.
    """

    recipe: Recipe
    adaptive: bool
    steps: tuple[int, ...]  # of the rate, until the first restart
    restarted_after: int | None = None
    count_before: float = 0.0
    running_average: float = 0.0

    @classmethod
    def of(cls, recipe: Recipe, run: Run) -> "RateSchedule":
        """The schedule of a run: adaptive for epsilon-ResNets of data sets whose recipe has adaptive steps."""
        adaptive = run.method == "epsilon_side" and recipe.adaptive_steps is not None
        return cls(recipe, adaptive, recipe.rate_steps_of(run.method))

    def level(self, epoch: int) -> int:
        """How many times the rate has fallen in an epoch, counted from 1."""
        steps, completed = self._steps(epoch)
        return sum(completed >= step for step in steps) + self._is_late(epoch)

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 1."""
        if epoch == 1 and self.recipe.first_rate is not None:
            return self.recipe.first_rate
        if self.recipe.late_rate and self._is_late(epoch):
            return self.recipe.late_rate.rate
        return self.recipe.rate / 10.0 ** self.level(epoch)

    def highest_rate(self, epoch: int, last: int) -> float:
        """The highest rate that the epochs from `epoch` to `last` can still have, restarts after each included."""
        rates = [self.rate(later) for later in range(epoch, last + 1)]
        if self.adaptive and epoch < last:
            rates.append(self.recipe.rate)
            rates += [self.recipe.late_rate.rate] if self.recipe.late_rate else []
        return max(rates, default=0.0)

    def _steps(self, epoch: int) -> tuple[tuple[int, ...], int]:
        """The steps that apply in an epoch, and the epochs completed since they began to count."""
        if self.restarted_after is None:
            return self.steps, epoch - 1
        return self.recipe.adaptive_steps or (), epoch - 1 - self.restarted_after

    def _is_late(self, epoch: int) -> bool:
        late, (_, completed) = self.recipe.late_rate, self._steps(epoch)
        if late is None:
            return False
        return completed >= (late.epoch if self.restarted_after is None else late.adaptive_epoch)

    def observe_epoch(self, epoch: int, discarded: int, closed: Sequence[int]) -> None:
        """Takes, at the end of an epoch, the number of discarded blocks and of closed gates in each of its steps.

        Restarts the rate if a block was lost: by the discarded blocks, or by the running average of the closed gates
        (`restart_on`). A block whose gate closes for good in the first 65 % of an epoch raises that average by 0.999 or
        more, however many steps the epoch has.
        """
        decay = RUNNING_DECAY ** (RUNNING_STEPS / max(len(closed), 1))
        for count in closed:
            self.running_average = decay * self.running_average + (1 - decay) * count
        by_average = self.recipe.restart_on == "running_average"
        count_now, rise = (self.running_average, RUNNING_RISE) if by_average else (float(discarded), 1.0)
        if self.adaptive and count_now - self.count_before >= rise:
            self.restarted_after = epoch
        self.count_before = count_now

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {k: v for k, v in asdict(self).items() if k in ("restarted_after", "count_before", "running_average")}


def weight_decay(recipe: Recipe, step: int) -> float:
    """The decay of a step, counted from 0 over the whole training (reference code: x0.2 every 480,000 steps)."""
    return recipe.weight_decay * recipe.weight_decay_factor ** (step // recipe.weight_decay_every)


def epsilon_of(recipe: Recipe, epsilon: float, epoch: int) -> float:
    """The gates' threshold in an epoch, counted from 1: 0 until `epsilon_start_epoch` has passed."""
    return 0.0 if epoch <= recipe.epsilon_start_epoch else epsilon
