"""scikit-learn's bundled 8x8 digits: the embedded data set of the demo, nothing is downloaded."""

import torch

from eps_resnet.data.store import Images
from eps_resnet.experiments.models import Archive


def read(archive: Archive) -> Images:
    """The digits in scikit-learn's order: the first images for training, the last for testing. Pixels are 0 to 16."""
    from sklearn.datasets import load_digits  # takes a second to import, which other data sets need not wait for

    bundle = load_digits()
    images = torch.from_numpy(bundle.images).to(torch.uint8)[:, None]
    labels = torch.from_numpy(bundle.target).to(torch.uint8)
    end = archive.train_images + archive.test_images
    return Images(
        *(t[: archive.train_images] for t in (images, labels)),
        *(t[archive.train_images : end] for t in (images, labels)),
    )
