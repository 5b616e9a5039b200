"""`python src/exporter.py MODEL --output FILE` is `zoobench export …` with the models of model_registry.py."""

import sys

import model_registry  # noqa: F401 - what it adds can be named
from zoobench.cli import main

if __name__ == "__main__":
    sys.exit(main(["export", *sys.argv[1:]]))
