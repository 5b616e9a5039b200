"""`python src/exporter.py MODEL --output FILE` is `zoobench export …` with the models of model_registry.py."""

import model_registry  # noqa: F401 - what it adds can be named
from zoobench.cli import entry

if __name__ == "__main__":
    entry("export")
