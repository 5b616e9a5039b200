"""`zoobench doctor`: this machine as a place to measure on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from zoobench.commands.flags import AsJson
from zoobench.commands.printing import print_json, print_rich, to_whoever_listens

if TYPE_CHECKING:
    from zoobench.doctor.software import Probe


def doctor(
    *,
    results_dir: Path = Path("results"),
    as_json: AsJson = False,
) -> int:
    """Say what is wrong with this machine for measuring, and what to do.

    Parameters
    ----------
    results_dir
        The folder whose disk is looked at.
    as_json
        Print JSON.
    """
    from zoobench.doctor import examine, findings_table, headline
    from zoobench.executors.local import LocalExecutor

    executor = LocalExecutor()
    findings = examine(cast("Probe", executor.probe_details), hub=executor.reach, results_dir=results_dir)
    if as_json:
        print_json([finding.model_dump(mode="json") for finding in findings])
    else:
        with to_whoever_listens():
            print_rich(findings_table(findings))
            print(headline(findings))
    return 1 if any(finding.level == "problem" for finding in findings) else 0
