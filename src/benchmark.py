"""`python src/benchmark.py …` is `zoobench run …` with the models that model_registry.py beside it adds."""

import model_registry  # noqa: F401 - what it adds can be named in --models
from zoobench.cli import entry

if __name__ == "__main__":
    entry("run")
