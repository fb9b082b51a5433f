"""Files and processes: what knows nothing of networks or experiments."""
