"""epsilon-ResNet (Yu, Yu, Ramalingam, CVPR 2018), reproduced: train, prune, evaluate, compare with the paper."""

__version__ = "0.1.0"
