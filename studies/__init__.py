"""Experiments beside the paper's, each for a question of docs/cifar10-cpu-recipe.md; none enters a table."""
