"""Words as they are typed into a shell: what is printed as a command is copied and run."""

from __future__ import annotations

import shlex
from collections.abc import Iterable


def command_line(words: Iterable[str]) -> str:
    """The words as one line that a shell takes apart into just them."""
    return " ".join(map(shell_word, words))


def shell_word(word: str) -> str:
    """One word, quoted where that is needed; of what cannot be seen the bytes, as bash and zsh read them: `$'a\\x0ab'`."""
    return shlex.quote(word) if word.isprintable() else f"$'{''.join(map(_escaped, word))}'"


def flag_words(flag: str, *values: str) -> tuple[str, ...]:
    """A flag and its values; one that looks like a flag itself is joined to its own."""
    if any(value.startswith("-") for value in values):
        return tuple(f"{flag}={value}" for value in values)
    return (flag, *values)


def _escaped(c: str) -> str:
    if c in "\\'":
        return "\\" + c
    if c.isprintable():
        return c
    # A surrogate is a byte of a file's name that is no UTF-8, or came out of JSON and stands for no byte at all.
    data = c.encode("utf-8", "surrogateescape" if "\udc80" <= c <= "\udcff" else "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in data)
