"""The runtimes that are installed, and the Hub."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from typing import TypedDict

from zoobench.backends import BACKENDS, CUDA_BACKENDS, DEFAULT_BACKENDS, RIVALS
from zoobench.doctor.finding import Finding, Level
from zoobench.errors import pip_install, pip_uninstall


class ProbeResult(TypedDict):
    """What a probe worker found out about one backend: why it cannot run (None: it can), and its version."""

    reason: str | None
    version: str | None


Probe = Callable[[list[str]], Mapping[str, ProbeResult]]
Hub = Callable[[], tuple[bool, str]]
Version = Callable[[str], str | None]


def installed_version(distribution: str) -> str | None:
    """The version of an installed distribution, or None; imports nothing."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def backend_findings(
    probe: Probe | None = None, *, gpu_present: bool = False, version: Version = installed_version
) -> list[Finding]:
    """Each backend of the table that runs in a worker: its version, or why not and what mends it.

    Args:
        probe: asks the backends themselves, in a probe worker; None looks only at what is installed.
        gpu_present: False leaves a CUDA backend without advice: it could not run anyway, and installing
            onnxruntime-gpu would take the CPU build away.
    """
    names = [name for name, row in BACKENDS.items() if not row.inline]
    answers = probe(names) if probe is not None else {}
    return [_backend_finding(name, answers.get(name), gpu_present, version) for name in names]


def _backend_finding(name: str, answer: ProbeResult | None, gpu_present: bool, version: Version) -> Finding:
    row = BACKENDS[name]
    missing = [package for package in row.packages if version(package) is None]
    text = f"{' and '.join(missing)} not installed"
    if not missing:
        text = ", ".join(f"{package} {version(package)}" for package in row.packages)
    if row.device == "cuda" and not gpu_present:
        return Finding(area="backends", name=name, level="info", text=f"no GPU to run it on; {text}")
    if missing:
        return Finding(
            area="backends",
            name=name,
            level=_gravity(name, gpu_present),
            text=text,
            advice=install_command(missing, version),
        )
    if answer is not None and answer["reason"] is not None:
        reason, _, command = answer["reason"].partition("; ")
        return Finding(
            area="backends",
            name=name,
            level=_gravity(name, gpu_present),
            text=reason,
            advice=command or None,
        )
    return Finding(area="backends", name=name, level="ok", text=text)


def _gravity(name: str, gpu_present: bool) -> Level:
    if name in DEFAULT_BACKENDS:
        return "problem"
    return "warning" if name in CUDA_BACKENDS and gpu_present else "info"


def install_command(missing: Sequence[str], version: Version = installed_version) -> str:
    """The command that installs the distributions that a backend lacks.

    onnxruntime and onnxruntime-gpu unpack into one folder, so the one must go before the other comes.
    """
    present = [RIVALS[package] for package in missing if package in RIVALS and version(RIVALS[package])]
    first = f"{pip_uninstall(*present)} && " if present else ""
    return f"{first}{pip_install(*missing)}"


def hub_findings(hub: Hub | None) -> list[Finding]:
    """Whether the Hub answers; nothing when there is nobody to ask."""
    if hub is None:
        return []
    reachable, line = hub()
    text, _, advice = line.partition(": ") if not reachable and ": " in line else (line, "", "")
    return [
        Finding(
            area="hub",
            name="Hugging Face Hub",
            level="ok" if reachable else "warning",
            text=text if reachable else f"{text}; what is not cached runs with random weights",
            advice=advice or None,
        )
    ]
