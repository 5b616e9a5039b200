"""Write a detector that knows something and pictures to ask it about into a folder; no Hub is needed.

    shapes/train, shapes/val      drawn squares, discs and triangles, in COCO's layout
    model.pt                      a narrow YOLOv8, trained on such pictures for some seconds (extra `ultralytics`)

usage: python benchmarks/real_detector.py FOLDER
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.real_detectors import train_shapes, write_shapes


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=400, help="to judge with")
    asked = parser.parse_args()
    write_shapes(asked.folder / "shapes", train=60, val=asked.pictures)
    train_shapes(asked.folder)
    print(f"wrote {asked.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
