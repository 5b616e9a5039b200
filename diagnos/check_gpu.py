"""Is there a GPU that models can run on, and if not, what is missing? Exit code 0: yes, 1: no."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

try:
    from rich.console import Console

    from zoobench.doctor import closing_line, findings_table, gpu_findings, usable_gpu
except ImportError as error:
    sys.exit(f"{error}: install what zoobench needs first, pip install -r requirements.txt")


def main() -> int:
    """Print the GPU part of `zoobench doctor`."""
    console = Console(highlight=False)
    findings = gpu_findings()
    console.print(findings_table(findings))
    console.print(f"\n{closing_line(findings)}", soft_wrap=True)
    return 0 if usable_gpu(findings) else 1


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    sys.exit(main())
