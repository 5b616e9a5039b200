"""`python -m zoobench` is the command line."""

from zoobench.cli import entry

entry()
