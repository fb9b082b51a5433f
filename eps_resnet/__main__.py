"""Runs the command line as `python -m eps_resnet`."""

from eps_resnet.cli import main

main()
