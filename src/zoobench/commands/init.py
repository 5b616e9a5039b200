"""`zoobench init`: what the flags say, kept in a file."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from zoobench import api
from zoobench.backends import BACKENDS, DEFAULT_BACKENDS
from zoobench.cli import CONFIG_FILE
from zoobench.commands.flags import Flag
from zoobench.errors import UsageError

_CONFIG = f"""\
# zoobench.toml: what the flags say, kept in a file. Flags on the command line win.

[run]
# Names, globs, Hub ids, local folders or .onnx files.
models = {json.dumps(list(api.DEFAULT_MODELS))}
# One of: {", ".join(name for name, row in BACKENDS.items() if row.ranked)}
backends = {json.dumps(list(DEFAULT_BACKENDS))}
batch_sizes = [1]
precisions = ["fp32"]
# quick, standard or thorough: how much evidence is bought.
effort = "quick"
# auto falls back to seeded random weights when the Hub cannot be reached; pretrained makes that an error.
weights = "auto"
results_dir = "results"
# threads = 2
# max_case_time = 20.0
# Labelled pictures: to measure accuracy with, and to calibrate int8 on.
# dataset = "mini-imagenet"
# samples = 1000
# calibration = "my-pictures"
# options = ["graph_optimization=all"]

[report]
results_dir = "results"
output = "RESULTS.md"
"""


def init(path: Path = Path(CONFIG_FILE), *, force: Flag = False) -> int:
    """Write a commented zoobench.toml.

    Parameters
    ----------
    path
        The file to write.
    force
        Overwrite one that is there.
    """
    if path.exists() and not force:
        raise UsageError(f"{path} exists; --force overwrites it")
    try:
        path.write_text(_CONFIG)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error
    print(f"wrote {path}; flags on the command line win over it", file=sys.stderr)
    return 0
