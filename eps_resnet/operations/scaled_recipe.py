"""A recipe for a user's own data, scaled to its number of steps by what worked on two data sets (docs/tutorial.md).

Rate x decay x steps decides whether the weights of closed blocks vanish. So the decay follows from the number of steps,
and the epochs at which the rate falls are counted in units of 1 / (weight decay x steps of an epoch).
"""

from dataclasses import dataclass
from math import ceil

from eps_resnet.files.errors import UserError

BATCH, LEAST_BATCH = 128, 8  # images
LEAST_EPOCH = 8  # steps
LEAST_IMAGES = LEAST_BATCH * LEAST_EPOCH
EPOCHS = 150  # as of cifar10-cpu, where so many make 3,000 to 12,000 steps
LEAST_STEPS, MOST_STEPS = 3_000, 12_000
LEAST_EPOCHS = 10  # where an epoch has many steps: the rate falls at whole epochs
DECAY_TIMES_STEPS = 28  # weight decay x all steps
LEAST_DECAY, MOST_DECAY = 0.0002, 0.012
FALLS = (2.8, 4.2)  # when the rate falls after a restart, in units of 1 / (weight decay x steps of an epoch)


@dataclass(frozen=True)
class ScaledRecipe:
    """The values of a recipe that depend on the number of training images."""

    batch: int
    epoch_steps: int
    epochs: int
    weight_decay: float
    adaptive_steps: tuple[int, int]

    @property
    def steps(self) -> int:
        """Steps in all."""
        return self.epochs * self.epoch_steps

    @property
    def rate_steps(self) -> tuple[int, int]:
        """Epochs after which the rate falls as long as no block is lost: twice those after a restart."""
        return 2 * self.adaptive_steps[0], 2 * self.adaptive_steps[1]


def scaled_recipe(images: int) -> ScaledRecipe:
    """The recipe for so many training images. Raises UserError if they are too few."""
    if images < LEAST_IMAGES:
        raise UserError(
            f"There are {images} training images; expected at least {LEAST_IMAGES}, for {LEAST_EPOCH} steps of "
            f"{LEAST_BATCH} images in an epoch."
        )
    batch = BATCH
    while images // batch < LEAST_EPOCH:
        batch //= 2
    steps = images // batch
    epochs = max(min(max(EPOCHS, ceil(LEAST_STEPS / steps)), MOST_STEPS // steps), LEAST_EPOCHS)
    decay = float(f"{min(max(DECAY_TIMES_STEPS / (epochs * steps), LEAST_DECAY), MOST_DECAY):.2g}")
    first, second = (max(round(fall / decay / steps), 1) for fall in FALLS)
    return ScaledRecipe(batch, steps, epochs, decay, (first, max(second, first + 1)))
