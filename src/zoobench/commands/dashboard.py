"""`zoobench dashboard`: results in the browser."""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
from pathlib import Path
from typing import Annotated, NoReturn

from cyclopts import Parameter

from zoobench.commands.flags import Flag
from zoobench.errors import UsageError, install_extra

HOST, FIRST_PORT, PORTS = "127.0.0.1", 8501, 50


def dashboard(
    *results_dir: Annotated[Path, Parameter(show=True)],
    port: Annotated[int | None, Parameter(negative=())] = None,
    no_browser: Flag = False,
) -> NoReturn:
    """Show results in the browser: leaderboard, Pareto front, comparisons, history, records, failures.

    It listens on this machine alone (127.0.0.1), sends nothing to anybody, and changes nothing. Ctrl-C ends it.

    Parameters
    ----------
    results_dir
        Folders of results, one or more; default: results.
    port
        Where it listens; default: 8501, or the next free one.
    no_browser
        Only print the address.
    """
    if importlib.util.find_spec("streamlit") is None:
        raise UsageError(
            f"the dashboard needs Streamlit, which is not installed; {install_extra('dashboard')}"
        )
    folders = [os.fspath(folder) for folder in dict.fromkeys(results_dir or (Path("results"),))]
    chosen = _free_port() if port is None else _checked(port)
    print(f"zoobench dashboard: http://{HOST}:{chosen}  (Ctrl-C ends it)", flush=True)
    # This process becomes Streamlit's, so that signals reach it and its exit is the command's.
    os.execve(sys.executable, command(chosen, folders, no_browser=no_browser), _environment())  # noqa: S606


def command(port: int, folders: list[str], *, no_browser: bool) -> list[str]:
    """What starts Streamlit. Flags win over whatever a config file of the user's or the folder's says."""
    from zoobench.show import dashboard as pages

    script = Path(pages.__file__).with_name("script.py")
    options = {
        "server.address": HOST,
        "server.port": str(port),
        "browser.serverAddress": HOST,
        "browser.gatherUsageStats": "false",
        "server.showEmailPrompt": "false",
        "server.fileWatcherType": "none",
        "server.runOnSave": "false",
        "runner.magicEnabled": "false",
        "server.enableCORS": "true",
        "server.enableXsrfProtection": "true",
        "server.enableAgentApi": "false",
        "client.toolbarMode": "viewer",
        "client.showErrorDetails": "none",
        "global.developmentMode": "false",
        "logger.hideWelcomeMessage": "true",
        "logger.level": "error",
        # The red of Streamlit's own theme would look like an error beside traffic lights.
        "theme.light.primaryColor": "#0072b2",
        "theme.dark.primaryColor": "#2a78ad",
        **({"server.headless": "true"} if no_browser else {}),
    }
    flags = [f"--{name}={value}" for name, value in options.items()]
    # Without it a page elsewhere, whose name it makes point here (DNS rebinding), could read along.
    flags += [f"--server.allowedHosts={name}" for name in (HOST, "localhost")]
    # -P: no module of the current folder is taken for one of Python's.
    return [sys.executable, "-P", "-m", pages.__name__, "run", str(script), *flags, "--", *folders]


def _environment() -> dict[str, str]:
    """The same zoobench over there, wherever it was found here."""
    home = str(Path(__file__).resolve().parents[2])
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _free_port() -> int:
    for port in range(FIRST_PORT, FIRST_PORT + PORTS):
        if _is_free(port):
            return port
    raise UsageError(f"no port from {FIRST_PORT} to {FIRST_PORT + PORTS - 1} is free; name one with --port")


def _checked(port: int) -> int:
    if not 0 < port < 65536:
        raise UsageError(f"--port {port}: a port is a number from 1 to 65535")
    if not _is_free(port):
        raise UsageError(f"--port {port} is taken or not allowed; name another, or none")
    return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
