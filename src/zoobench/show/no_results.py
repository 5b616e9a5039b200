"""What is said of a results folder that has nothing to show: what it is, where, and what to do."""

from __future__ import annotations

from pathlib import Path

from zoobench.results.watch import Folder, State
from zoobench.shell import command_line, flag_words, shell_word
from zoobench.show.document import Block, Command, Heading, Items, Paragraph

MOST_PROBLEMS, MOST_ALIKE = 20, 3


def explained(folder: Folder) -> list[Block]:
    """Of a folder without a single row."""
    where = str(folder.path)
    match folder.state:
        case State.MISSING:
            return _page(
                "There is no such folder",
                f"{where} does not exist. Measure into it, or name the folder that holds your results:",
                (_measure(folder.path), "zoobench dashboard FOLDER"),
            )
        case State.FILE:
            return _page(
                "A file, not a results folder",
                f"{where} is a file. Name the folder that holds `runs`:",
                ("zoobench dashboard FOLDER",),
            )
        case State.A_RUN:
            home = folder.path.absolute().parent.parent
            return _page(
                "One run, not a results folder",
                f"{where} is the folder of a single run. Name the results folder that it lies in:",
                (f"zoobench dashboard {shell_word(str(home))}",),
            )
        case State.FOREIGN:
            return _page(
                "Not a results folder",
                f"{where} holds something else: there is no folder `runs` in it. Nothing in it was touched. Name the "
                "folder that `zoobench run` wrote to (its --results-dir), or measure:",
                ("zoobench dashboard FOLDER", "zoobench run --models resnet18"),
            )
        case State.CLOSED:
            return [
                Heading(2, "The folder cannot be read"),
                *problem_list(folder.problems),
                Paragraph("This page looks again by itself."),
            ]
        case State.NEWER:
            return [
                Heading(2, "Written by a newer zoobench"),
                Paragraph(
                    f"Every record in {where} has a schema that this version does not know. They are left as they are. "
                    "Upgrade zoobench, then open the dashboard again."
                ),
                *problem_list(folder.problems, MOST_ALIKE),
            ]
        case State.DAMAGED:
            return [
                Heading(2, "No record can be read"),
                Paragraph(
                    f"{where} holds runs, but none of their lines is a record. They are left as they are. Restore the "
                    "files named below, or measure again:"
                ),
                Command((_measure(folder.path),)),
                *problem_list(folder.problems),
            ]
        case _:
            return _page(
                "No results yet",
                f"{where} holds no record. Measure first; this page shows the results as they come:",
                (_measure(folder.path),),
            )


def problem_list(problems: tuple[str, ...], most: int = MOST_PROBLEMS) -> list[Block]:
    """The first of the lines that say what could not be read, and how many more there are."""
    if not problems:
        return []
    listed: list[Block] = [Items(tuple(("", problem) for problem in problems[:most]))]
    more = len(problems) - most
    return [*listed, Paragraph(f"And {more} more.")] if more > 0 else listed


def _measure(folder: Path) -> str:
    return command_line(
        ["zoobench", "run", "--models", "resnet18", *flag_words("--results-dir", str(folder))]
    )


def _page(title: str, text: str, commands: tuple[str, ...]) -> list[Block]:
    return [Heading(2, title), Paragraph(text), Command(commands)]
