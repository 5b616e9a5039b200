"""Write models that know something and pictures to ask them about into a folder; no Hub is needed.

    digits_model, digits/train, digits/test     a small network trained on scikit-learn's digits, and the digits
    lite0, photographs, others                  EfficientNet-Lite0 with ImageNet weights, and scikit-image's photographs

usage: python benchmarks/real_pictures.py FOLDER
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.real_models import (
    train_digits,
    write_digits,
    write_efficientnet_lite0,
    write_other_photographs,
    write_photographs,
)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    train, _ = write_digits(folder / "digits")
    train_digits(train, folder / "digits_model")
    write_efficientnet_lite0(folder / "lite0")
    write_photographs(folder / "photographs")
    write_other_photographs(folder / "others")
    print(f"wrote {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
