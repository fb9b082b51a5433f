"""Experiments beside the paper's, each for a question of docs/cifar10-cpu.md; none enters a table."""
