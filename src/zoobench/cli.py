"""The command line: parsing and exit codes only. One command is one short function in `commands/`.

Nothing heavy is imported before it is known which command is meant, so that `zoobench --help` answers at once.
"""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from zoobench._version import __version__
from zoobench.errors import INTERRUPTED_EXIT, SOFTWARE_EXIT, USAGE_EXIT, UsageError, ZoobenchError, printable

if TYPE_CHECKING:
    from cyclopts import App

COMMANDS = {
    "run": "Measure models on runtimes; results go to --results-dir, the table to stdout.",
    "models": "List the models that are known by name.",
    "export": "Export one model to ONNX and compare it with its reference.",
    "quantize": "Make an int8 or fp16 file of one model; says which recipes were tried.",
    "tune": "Search a runtime's own options for one model, and write those that are faster.",
    "compare": "Compare two stored runs, or two backends, precisions or batches of one.",
    "explain": "Say why a cell is (not) fast: where its time goes, and what a precision gains or loses.",
    "guard": "Fail when head is slower than base, or a model slower than its limit.",
    "recommend": "Say what to ship, under limits on latency, memory, accuracy and cost.",
    "report": "Write a report (Markdown, HTML or JSON) from stored results.",
    "dashboard": "Show stored results in the browser.",
    "doctor": "Say what is wrong with this machine for measuring, and what to do.",
    "schema": "Print the JSON Schema of a record.",
    "init": "Write a commented zoobench.toml.",
    "cache": "Show (ls) or free (prune) prepared artifacts, the guard's checkouts and pictures.",
    "completion": "Print or install the shell's completion.",
}
"""The commands and their one-line help: the one home of both, here and in the full help."""

CONFIG_FILE = "zoobench.toml"

_MEASURING = ("run", "tune", "guard")
_KEPT = "what was measured is kept"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments without the program's name; None takes them from the process.

    Returns:
        The exit code.
    """
    _speak_any_alphabet()
    tokens = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in tokens
    tokens = [word for word in tokens if word != "--debug"]
    if not tokens or tokens in (["--help"], ["-h"]):
        print(root_help())
        return 0
    if tokens == ["--version"]:
        print(__version__)
        return 0
    try:
        return int(_dispatch(tokens) or 0)
    except ZoobenchError as error:
        if debug:
            raise
        return _complain(str(error), error.exit_code)
    except KeyboardInterrupt:
        if debug:
            raise
        more = f"; {_KEPT}, run again to continue" if tokens[0] in _MEASURING else ""
        return _complain(f"interrupted{more}", INTERRUPTED_EXIT)
    except BrokenPipeError:
        # The reader (head, less) has gone; nothing is left to say to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if debug:
            raise
        more = f"; {_KEPT}" if tokens[0] in _MEASURING else ""
        return _complain(f"the output cannot be written ({error}){more}", SOFTWARE_EXIT)
    except ModuleNotFoundError as error:
        if debug:
            raise
        return _complain(f"{error.name} is not installed; pip install -r requirements.txt", USAGE_EXIT)
    except Exception as error:
        if debug:
            raise
        return _complain(
            f"unexpected {type(error).__name__}: {error}; --debug shows the traceback", SOFTWARE_EXIT
        )


def entry(*words: str) -> NoReturn:
    """A process of its own: `words`, then the process's arguments. Exits with the command's code.

    A polite kill is an interruption like Ctrl-C: what was measured is written first.
    """
    _open_streams()
    # Pydantic would look for plugins of its own in every installed package; workers inherit this.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    code = main([*words, *sys.argv[1:]])
    # The process ends: looking for garbage among all that was imported would be the longest part of that.
    gc.freeze()
    sys.exit(code)


def _open_streams() -> None:
    """A closed stdin, stdout or stderr becomes /dev/null: else the next pipe to a worker would take its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            # Open for as long as the process lives.
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115


def _speak_any_alphabet() -> None:
    """A terminal that knows only ASCII gets question marks, not a crash after an hour of measuring."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def root_help() -> str:
    """The help of the program itself, from `COMMANDS`."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "Usage: zoobench COMMAND [ARGS]",
            "",
            "Which model, on which runtime, at which precision and batch size, on this hardware.",
            "",
            "Commands:",
            *lines,
            "",
            "`zoobench COMMAND --help` explains a command. --version prints the version, --debug shows tracebacks.",
        ]
    )


def _dispatch(tokens: list[str]) -> Any:
    from cyclopts import CycloptsError

    if _check_config(Path(CONFIG_FILE), tokens[0]):
        print(f"[{tokens[0]}] of {CONFIG_FILE} is in force", file=sys.stderr)
    # The parent makes little garbage; looking for it costs a tenth of a short command and disturbs a long one.
    gc.disable()
    app = build_app()
    try:
        _check_environment(app, tokens)
        return app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        return _complain(" ".join(str(error).split()), USAGE_EXIT)
    finally:
        gc.enable()


def build_app() -> App:
    """The parser, with every command of `COMMANDS`."""
    from cyclopts import App, Parameter
    from cyclopts.config import Env, Toml

    app = App(
        name="zoobench",
        version=__version__,
        help_format="plaintext",
        suppress_keyboard_interrupt=False,
        # Every flag has one (ZOOBENCH_RUN_EFFORT and so on); naming them all would drown the help.
        default_parameter=Parameter(show_env_var=False),
        config=[Toml(CONFIG_FILE, must_exist=False, search_parents=False), Env("ZOOBENCH_", command=True)],
    )
    for name, text in COMMANDS.items():
        app.command(f"zoobench.commands.{name}:{name}", name=name, help=text)
    return app


def _check_environment(app: App, tokens: Sequence[str]) -> None:
    """Refuse a variable for this command that is no flag of it: measuring something else would be worse.

    Raises:
        UsageError: such as ZOOBENCH_RUN_EFORT.
    """
    words = [word for word in app.parse_commands(tokens)[0] if word]
    prefix = "_".join(["ZOOBENCH", *map(str.upper, words), ""])
    given = [name for name in os.environ if name.startswith(prefix)] if words else []
    if not given:
        return
    import difflib

    command = app
    for word in words:
        command = command[word]
    flags = {name for argument in command.assemble_argument_collection() for name in argument.names}
    known = {prefix + flag.lstrip("-").replace("-", "_").upper() for flag in flags}
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            advice = (
                f"did you mean {near[0]}?" if near else f"`zoobench {' '.join(words)} --help` lists the flags"
            )
            raise UsageError(f"the variable {name} is no flag of `{' '.join(words)}`; {advice}")


def _check_config(file: Path, command: str) -> bool:
    """Refuse a config file that cannot be meant, by name and line.

    Returns:
        Whether it says anything for `command`.

    Raises:
        UsageError: it is not a file, not TOML, or has a table that is no command.
    """
    if not file.exists():
        return False
    if not file.is_file():
        raise UsageError(f"{file} is not a regular file; `zoobench init` writes one")
    import tomllib

    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            f"{file}: cannot be read ({error}); `zoobench init --force` writes a new one"
        ) from error
    for name in tables:
        if name not in COMMANDS:
            raise UsageError(f"{file}: there is no command {name!r}; its tables are {', '.join(COMMANDS)}")
    return command in tables


def _complain(message: str, code: int) -> int:
    print(f"zoobench: {printable(message)}", file=sys.stderr)
    return code
