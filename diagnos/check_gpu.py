"""Is there a GPU that models can run on, and if not, what is missing? Exit code 0: yes, 1: no."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from rich.console import Console

from zoobench.doctor import findings_table, gpu_findings, usable_gpu


def main() -> int:
    """Print the GPU part of `zoobench doctor`."""
    console = Console(highlight=False)
    findings = gpu_findings()
    console.print(findings_table(findings))
    console.print()
    if usable_gpu(findings):
        console.print("A GPU is ready: python src/benchmark.py --gpu")
        return 0
    console.print(
        "No GPU is usable yet: follow the arrows above. CPU benchmarks run without: python src/benchmark.py"
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
