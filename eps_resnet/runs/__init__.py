"""The steps of one run, with its files."""
