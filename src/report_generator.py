"""`python src/report_generator.py --results-dir results --output RESULTS.md` is `zoobench report` with the same."""

from zoobench.cli import entry

if __name__ == "__main__":
    entry("report")
