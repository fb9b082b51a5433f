"""Pre-activation ResNets with gates and a side head, CIFAR-style and ImageNet, and the plain nets left by pruning."""
