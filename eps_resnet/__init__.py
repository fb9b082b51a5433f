"""epsilon-ResNet (Yu, Yu, Ramalingam, CVPR 2018), reproduced: train, prune, evaluate, compare with the paper."""
