"""Where the guard's decisions go: the terminal, JSON, JUnit XML, a summary, GitHub's annotations."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoobench.commands.printing import print_blocks, print_json, to_whoever_listens
from zoobench.errors import UsageError
from zoobench.judge import Finding
from zoobench.show import gates


@dataclass(frozen=True)
class Reports:
    """Everywhere where somebody looks. Places that cannot be written are refused before anything is measured."""

    as_json: bool
    junit: Path | None
    summary: Path | None

    def __post_init__(self) -> None:
        """Take the last run's JUnit away: whatever ends this run, it is not that one's. Raises UsageError."""
        for flag, place in (("--junit", self.junit), ("--summary", self.summary)):
            if place is None:
                continue
            if place.is_fifo() or place.is_dir():
                # Opening a pipe would wait for ever.
                raise UsageError(f"{flag} {place}: a file is needed")
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                there = place.exists()
                with place.open("a"):
                    pass
                if place.is_file() and (flag == "--junit" or not there):
                    place.unlink()
            except OSError as error:
                raise UsageError(f"{flag} {place}: cannot be written ({error.strerror})") from error

    def say(self, title: str, findings: Sequence[Finding], about: Mapping[str, str]) -> None:
        """Write and print. A place that fails now takes nothing from the others, nor from the exit code."""
        self.write_junit(title, findings)
        try:
            if self.summary:
                with self.summary.open("a", encoding="utf-8") as out:
                    out.write(gates.step_summary(title, findings, list(about.items())) + "\n")
        except OSError as error:
            _lost("--summary", self.summary, error)
        if os.environ.get("GITHUB_ACTIONS") == "true":
            print("\n".join(gates.workflow_commands(findings)), file=sys.stderr)
        with to_whoever_listens():
            if self.as_json:
                print_json(gates.as_data(findings))
            else:
                print_blocks([gates.findings_table(findings)])
                print("\n".join(gates.sentences(findings)))
                print(gates.headline(findings))

    def write_junit(self, title: str, findings: Sequence[Finding]) -> None:
        """The decisions as JUnit XML, if they are wanted."""
        try:
            if self.junit:
                self.junit.write_bytes(gates.junit_xml(title, findings))
        except OSError as error:
            _lost("--junit", self.junit, error)


def _lost(flag: str, place: Path | None, error: OSError) -> None:
    print(f"zoobench: {flag} {place}: cannot be written ({error.strerror})", file=sys.stderr)
