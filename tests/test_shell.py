"""A printed command is copied into a shell, and must come out of it as the very words that were meant."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from zoobench.shell import command_line, flag_words, shell_word

ODD = (
    "a b", "a  b", "q'x", 'd"x', "back\\slash", "$(x)", "nl\nx", "tab\tx", "-x", "~", "*", "é", "", "u\u202ex", "a  b\u200bc", "#h",
    "`id`", "a;b", "esc\x1b[31mA", "quote'and\n", "\udcff", "\xa0", "back\\and\n",
)  # fmt: skip


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_a_shell_reads_the_words_back() -> None:
    line = command_line(["printf", "%s\\0", *ODD])
    # Wherever it is read: the locale of the one who copies is not known.
    for locale in ("C", "C.UTF-8"):
        said = subprocess.run(
            ["bash", "-c", line], capture_output=True, check=True, env={**os.environ, "LC_ALL": locale}
        )
        assert tuple(map(os.fsdecode, said.stdout.split(b"\0")[:-1])) == ODD


def test_what_is_printed_can_be_seen() -> None:
    assert all(map(str.isprintable, map(shell_word, ODD)))
    assert shell_word("a\nb") == r"$'a\x0ab'"
    assert shell_word("\ud800").isprintable(), "no byte of any file name, and still no crash"
    assert shell_word("plain-1.2/x") == "plain-1.2/x"


def test_a_value_that_looks_like_a_flag_is_joined_to_its_own() -> None:
    assert flag_words("--results-dir", "-x") == ("--results-dir=-x",)
    assert flag_words("--models", "a", "-b") == ("--models=a", "--models=-b")
    assert flag_words("--models", "a", "b") == ("--models", "a", "b")
