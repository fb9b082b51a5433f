"""How fast the project is: `make bench` measures every goal as a ratio of two things in one run."""
