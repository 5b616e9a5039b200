"""`python src/report_generator.py …` is `zoobench report …`."""

import sys

from zoobench.cli import main

if __name__ == "__main__":
    sys.exit(main(["report", *sys.argv[1:]]))
