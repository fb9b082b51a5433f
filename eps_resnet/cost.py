"""What the trainings of the registry cost: exact multiply-adds, and the time that follows from a stated throughput."""

from eps_resnet.registry import Registry, recipe_of
from eps_resnet.schedule import epochs_of

FORWARD_AND_BACKWARD = 3  # the backward pass computes two products per forward product
# Measured on one core (docs/cost.md): a training step of ResNet-20, 32x32 pixels, batch 128, all gates open.
CPU_MULTIPLY_ADDS_PER_SECOND = 3.9e10
# An assumption, not a measurement: 32-bit convolutions of 16 to 64 channels on a recent data-centre card.
GPU_MULTIPLY_ADDS_PER_SECOND = 2.5e12
SECONDS_PER_HOUR, SECONDS_PER_DAY = 3_600, 86_400
IMAGENET_MULTIPLY_ADDS = {101: 7.6e9, 152: 11.3e9}  # He et al., CVPR 2016, Table 1, 224 x 224 pixels


def training_multiply_adds(registry: Registry, key: str) -> float:
    """Multiply-adds of a whole training, all gates open: an upper bound, as closed gates skip their backward pass."""
    from eps_resnet.network import architecture_of, size_of

    run = registry.run(key)
    data, recipe = registry.datasets[run.dataset], recipe_of(registry, run)
    if recipe.network == "imagenet":
        per_image = IMAGENET_MULTIPLY_ADDS[run.depth]
    else:
        per_image = size_of(architecture_of(run, data, recipe), data.size).multiply_adds
    images = (recipe.epoch_steps or data.archives[0].train_images // recipe.batch) * recipe.batch
    return float(per_image) * FORWARD_AND_BACKWARD * images * epochs_of(recipe, run)


def cpu_core_days(multiply_adds: float) -> float:
    """Days on one core of the machine on which the throughput was measured."""
    return multiply_adds / CPU_MULTIPLY_ADDS_PER_SECOND / SECONDS_PER_DAY


def gpu_hours(multiply_adds: float) -> float:
    """Hours on one GPU at the assumed throughput."""
    return multiply_adds / GPU_MULTIPLY_ADDS_PER_SECOND / SECONDS_PER_HOUR
