"""`python src/report_generator.py --results-dir results --output RESULTS.md` is `zoobench report` with the same."""

import sys

from zoobench.cli import main

if __name__ == "__main__":
    sys.exit(main(["report", *sys.argv[1:]]))
