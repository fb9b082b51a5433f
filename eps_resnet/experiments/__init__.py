"""What is trained: the registry of data sets, recipes, runs and figures."""
