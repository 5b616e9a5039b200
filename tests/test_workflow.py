"""The workflow and the action: every command in them exists, and their scripts do what they say, run as runners run them.

A stub stands for the guard (and for gh) where the script is what is tested; one slow test runs the real guard.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from zoobench.cli import build_app

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
ACTION = ROOT / "action.yml"
WORKFLOW = ROOT / ".github/workflows/benchmark.yml"
MARKER = "<!-- zoobench guard -->"
HOSTILE = (
    "; touch pwned",
    "$(touch pwned)",
    "`touch pwned`",
    "--setup=touch pwned",
    '"; touch pwned; "',
    "a\nb",
)
BASH = ("bash", "--noprofile", "--norc", "-eo", "pipefail")


@functools.cache
def load(file: Path) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load(file.read_text("utf-8"))
    return found


def jobs() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = load(WORKFLOW)["jobs"]
    return found


def steps() -> list[dict[str, Any]]:
    """Of both files."""
    inside = [step for job in jobs().values() for step in job["steps"]]
    return [*load(ACTION)["runs"]["steps"], *inside]


def step_named(name: str) -> dict[str, Any]:
    (found,) = (step for step in steps() if step.get("name") == name)
    return found


def commands() -> Iterator[list[str]]:
    """Every command line that begins with zoobench or make, as words."""
    for step in steps():
        for line in step.get("run", "").replace("\\\n", " ").splitlines():
            if match := re.match(r"\s*(?:\S*/)?(zoobench|make|python3? -m zoobench) (?!\()(.*)", line):
                words = shlex.split(match[2])
                yield [match[1].split()[-1], *words]


def targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


# What stands in the files


def test_the_commands_are_found() -> None:
    found = [words[:2] for words in commands()]
    for words in (
        ["make", "install"],
        ["make", "gpu"],
        ["zoobench", "doctor"],
        ["zoobench", "run"],
        ["zoobench", "report"],
    ):
        assert words in found
    assert ["zoobench", "guard"] in found


def test_every_command_parses() -> None:
    app = build_app()
    for program, *words in commands():
        if program == "zoobench" and "${flags[@]}" not in words:
            _, bound, unused, *_ = app.parse_known_args(words)
            assert not unused, f"zoobench {words}: unknown {unused}"
            assert bound is not None


def test_every_make_target_exists() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for program, *words in commands():
        if program != "make":
            continue
        for word in words:
            name, given, _ = word.partition("=")
            assert f"\n{name} ?= " in makefile if given else name in targets(), f"make {word}"


def test_the_extras_that_are_asked_for_exist() -> None:
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    asked = [word for words in commands() for word in words if word.startswith("EXTRAS=")]
    assert asked
    assert all(name in extras for word in asked for name in word.removeprefix("EXTRAS=").split())


def test_actions_are_pinned_by_commit_with_the_version_beside() -> None:
    lines = [
        line
        for file in (ACTION, WORKFLOW)
        for line in file.read_text("utf-8").splitlines()
        if re.match(r"\s*(- )?uses:", line)
    ]
    assert len(lines) >= 4
    for line in lines:
        assert re.search(r"uses: (\./\s|[\w-]+/[\w-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+$)", line), line


def test_no_expression_is_text_of_a_script() -> None:
    for step in steps():
        assert "${{" not in step.get("run", ""), step.get("name")
        assert "github-script" not in step.get("uses", "")


def test_a_pull_request_gets_no_token_that_writes_where_its_code_runs() -> None:
    workflow = load(WORKFLOW)
    # YAML 1.1 reads the key `on` as true.
    assert set(workflow[True]) == {"pull_request", "schedule", "workflow_dispatch"}
    assert workflow["permissions"] == {}
    for name, job in jobs().items():
        writes = [scope for scope, access in job["permissions"].items() if access == "write"]
        assert writes == (["pull-requests"] if name == "comment" else []), name
    comment = jobs()["comment"]
    assert "github.event.pull_request.head.repo.full_name == github.repository" in comment["if"]
    for step in comment["steps"]:
        assert not step.get("uses", "").startswith(("./", "actions/checkout"))
        assert not re.search(
            r"\b(zoobench|make|python\d?) [a-z-]", step.get("run", "").replace("## zoobench", "")
        )
    for step in steps():
        if step.get("uses", "").startswith("actions/checkout"):
            assert step["with"]["persist-credentials"] is False


def test_nothing_waits_for_ever_and_no_pull_request_reaches_own_machines() -> None:
    for name, job in jobs().items():
        assert job["timeout-minutes"] > 0, name
        if job["runs-on"] != "ubuntu-latest":
            assert "github.event_name != 'pull_request'" in job["if"], name
            assert re.search(r"vars\.\w+ != ''", job["if"]), name
    assert load(WORKFLOW)["concurrency"]["group"]


def test_the_workflow_uses_inputs_and_outputs_that_the_action_has() -> None:
    action = load(ACTION)
    (used,) = (step for step in steps() if step.get("uses") == "./")
    assert set(used["with"]) <= set(action["inputs"])
    text = WORKFLOW.read_text("utf-8")
    assert set(re.findall(r"steps\.guard\.outputs\.([\w-]+)", text)) <= set(action["outputs"])
    (checkout, *_) = jobs()["guard"]["steps"]
    assert checkout["with"]["fetch-depth"] == 0


def test_every_input_of_the_action_reaches_its_script() -> None:
    guard = step_named("Compare base with head")
    values = " ".join(guard["env"].values())
    for name in load(ACTION)["inputs"]:
        assert f"inputs.{name} }}" in values
    for name in guard["env"]:
        assert f"${name}" in guard["run"] or f"${{{name}" in guard["run"], name
    written = set(re.findall(r'echo "([\w-]+)=', guard["run"]))
    asked = {
        match[1]
        for output in load(ACTION)["outputs"].values()
        if (match := re.search(r"steps\.guard\.outputs\.([\w-]+)", output["value"]))
    }
    assert asked == written


# What the scripts do


def git(repo: Path, *words: str, **more: str) -> str:
    return subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b.example", *words],
        cwd=repo,
        env={**os.environ, **more},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """main has two commits and one that a branch, which is checked out, does not have."""
    folder = tmp_path / "a repository"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "one", GIT_COMMITTER_DATE="2020-01-01T00:00:00Z")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "two")
    git(folder, "checkout", "--quiet", "-b", "change")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "change")
    git(folder, "checkout", "--quiet", "main")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "three")
    git(folder, "checkout", "--quiet", "change")
    return folder


def program(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!{sys.executable}\n{text}")
    file.chmod(0o755)
    return file


STUB = """
import json, os, pathlib, sys
pathlib.Path(os.environ["STUB_ARGV"]).write_text(json.dumps(sys.argv[1:]))
given = dict(word[2:].split("=", 1) for word in sys.argv[1:] if word.startswith("--") and "=" in word)
code = int(os.environ["STUB_EXIT"])
print("zoobench: it was like this", file=sys.stderr)
if code in (0, 3, 4, 5):
    print('[{"case": "x"}]')
    pathlib.Path(given["summary"]).write_text("## what the guard says\\n")
    pathlib.Path(given["junit"]).write_text("<testsuites/>")
sys.exit(code)
"""


@dataclass
class Ran:
    code: int
    log: str
    outputs: dict[str, str]
    summary: str


def run_script(
    text: str, folder: Path, environment: Mapping[str, str], temp: Path, *, path: Path | None = None
) -> Ran:
    """As a runner does: the text in a file, GITHUB_OUTPUT and GITHUB_STEP_SUMMARY beside it."""
    temp.mkdir(parents=True, exist_ok=True)
    script, output, summary = (temp / name for name in ("script.sh", "output", "summary"))
    script.write_text(text)
    output.touch()
    summary.touch()
    done = subprocess.run(
        [*BASH, str(script)],
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"],
            "RUNNER_TEMP": str(temp),
            "GITHUB_OUTPUT": str(output),
            "GITHUB_STEP_SUMMARY": str(summary),
            **environment,
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=220,
    )
    outputs = dict(line.split("=", 1) for line in output.read_text().splitlines())
    return Ran(done.returncode, done.stdout, outputs, summary.read_text())


def run_guard(
    repo: Path,
    inputs: Mapping[str, str],
    *,
    event: Mapping[str, str] | None = None,
    zoobench: Path,
    environment: Mapping[str, str] | None = None,
) -> Ran:
    """The action's step with its expressions filled in, defaults included."""
    step, values = step_named("Compare base with head"), {}
    for name, expression in step["env"].items():
        match = re.fullmatch(
            r"\$\{\{ (?:inputs|github\.event|steps\.install\.outputs)\.([\w.-]+) \}\}", expression
        )
        assert match, expression
        key = match[1]
        if "inputs." in expression:
            values[name] = inputs.get(key, load(ACTION)["inputs"][key]["default"])
        else:
            values[name] = str(zoobench) if key == "program" else (event or {}).get(key, "")
    return run_script(step["run"], repo, {**values, **(environment or {})}, repo.parent / "runner's temp")


@dataclass
class Stubbed:
    repo: Path

    def run(self, code: int = 0, event: Mapping[str, str] | None = None, /, **inputs: str) -> Ran:
        return run_guard(
            self.repo,
            {name.replace("_", "-"): value for name, value in inputs.items()},
            event=event,
            zoobench=program(self.repo.parent / "pro gram/zoobench", STUB),
            environment={"STUB_EXIT": str(code), "STUB_ARGV": str(self.repo.parent / "argv")},
        )

    @property
    def bound(self) -> dict[str, Any]:
        """What the real parser makes of the stub's arguments."""
        words = json.loads((self.repo.parent / "argv").read_text())
        _, bound, unused, *_ = build_app().parse_known_args(words)
        assert not unused
        return dict(bound.arguments)


@pytest.fixture
def stubbed(repo: Path) -> Stubbed:
    return Stubbed(repo)


@pytest.mark.parametrize(
    ("code", "decision", "ends"),
    [
        (0, "pass", 0),
        (3, "regression", 3),
        (4, "undecided", 0),
        (5, "invalid", 5),
        (2, "error", 2),
        (130, "error", 130),
    ],
)
def test_what_an_exit_code_becomes(code: int, decision: str, ends: int, stubbed: Stubbed) -> None:
    done = stubbed.run(code, base="main")
    assert done.code == ends, done.log
    assert done.outputs["decision"] == decision
    assert done.outputs["exit-code"] == str(code)
    assert ("::warning" in done.log) == (decision == "undecided")
    assert ("::error" in done.log) == (decision == "invalid")
    assert Path(done.outputs["folder"], "summary.md").read_text() == done.summary
    if decision == "error":
        assert "nothing was judged" in done.summary
        assert "zoobench: it was like this" in done.summary
    else:
        assert done.summary.startswith("## what the guard says")
        assert json.loads(Path(done.outputs["json"]).read_text()) == [{"case": "x"}]
        assert Path(done.outputs["junit"]).is_file()
    assert ("undecided: neither a pass nor" in done.summary) == (decision == "undecided")
    assert ("no regression was shown" in done.summary) == (decision == "invalid")


def test_inputs_become_flags(stubbed: Stubbed) -> None:
    stubbed.run(
        base="main",
        head="change",
        setup="pip install -r requirements.txt && python export.py",
        registry="zoo.toml",
        models="a  b\nc",
        backends="onnx_cpu pytorch",
        batch_sizes="1 8",
        margin="3%",
        undecided="fail",
        args="--threads 2 --wait",
    )
    bound = stubbed.bound
    assert bound["base"] == "main"
    assert bound["head"] == "change"
    assert bound["setup"] == "pip install -r requirements.txt && python export.py"
    assert bound["registry"] == Path("zoo.toml")
    assert bound["models"] == ["a", "b", "c"]
    assert bound["backends"] == ["onnx_cpu", "pytorch"]
    assert bound["batch_sizes"] == [1, 8]
    assert bound["margin"] == "3%"
    assert bound["undecided"].value == "fail"
    assert bound["threads"] == 2
    assert bound["wait"]
    assert bound["as_json"]


def test_what_is_not_given_is_left_to_the_guard(stubbed: Stubbed) -> None:
    stubbed.run(base="main")
    assert not {"setup", "registry", "models", "backends", "batch_sizes"} & set(stubbed.bound)
    assert stubbed.bound["head"] == "HEAD"
    assert stubbed.bound["margin"] == "5%"


@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_value_is_a_value(value: str, stubbed: Stubbed) -> None:
    done = stubbed.run(
        base=value, head=value, setup=value, registry=value, models=value, backends=value, margin=value
    )
    assert done.code == 0, done.log
    bound = stubbed.bound
    for name in ("base", "head", "setup", "margin"):
        assert bound[name] == value
    assert bound["registry"] == Path(value)
    assert bound["models"] == bound["backends"] == value.split()
    assert not list(stubbed.repo.parent.rglob("pwned"))


def test_more_flags_are_words_and_not_shell(stubbed: Stubbed) -> None:
    stubbed.run(base="main", args="--options $(touch /tmp/pwned) *")
    assert stubbed.bound["options"] == ["$(touch", "/tmp/pwned)", "*"]
    assert not list(stubbed.repo.parent.rglob("pwned"))


def test_a_pull_request_is_held_against_where_it_left_its_base(stubbed: Stubbed) -> None:
    repo = stubbed.repo
    event = {
        "pull_request.base.sha": git(repo, "rev-parse", "main"),
        "pull_request.head.sha": git(repo, "rev-parse", "change"),
        "before": git(repo, "rev-parse", "main"),
    }
    stubbed.run(0, event)
    assert stubbed.bound["base"] == git(repo, "rev-parse", "main~1")
    assert stubbed.bound["head"] == event["pull_request.head.sha"]

    stubbed.run(0, event, base="main", head="HEAD")
    assert (stubbed.bound["base"], stubbed.bound["head"]) == ("main", "HEAD")

    # A clone that does not reach that far: the guard says so.
    stubbed.run(0, {**event, "pull_request.base.sha": "1" * 40})
    assert stubbed.bound["base"] == "1" * 40


def test_a_push_is_held_against_what_was_there_before(stubbed: Stubbed) -> None:
    before = git(stubbed.repo, "rev-parse", "HEAD~1")
    stubbed.run(0, {"before": before})
    assert (stubbed.bound["base"], stubbed.bound["head"]) == (before, "HEAD")


@pytest.mark.parametrize("event", [{}, {"before": "0" * 40}])
def test_with_nothing_to_compare_it_says_so(event: dict[str, str], stubbed: Stubbed) -> None:
    done = stubbed.run(0, event)
    assert done.code == 2
    assert "give the input base" in done.log
    assert done.outputs == {"decision": "error", "exit-code": "2"}
    assert not (stubbed.repo.parent / "argv").exists()


def test_the_action_installs_itself_beside_the_users_python(tmp_path: Path) -> None:
    uv = "import json, os, pathlib, sys\nif 'sync' in sys.argv:\n    " + (
        "pathlib.Path(os.environ['STUB_ARGV']).write_text(json.dumps([os.environ['UV_PROJECT_ENVIRONMENT'], *sys.argv]))"
    )
    program(tmp_path / "bin/uv", uv)
    action, temp = tmp_path / "an action", tmp_path / "runner's temp"
    done = run_script(
        step_named("Install zoobench")["run"],
        tmp_path,
        {"STUB_ARGV": str(tmp_path / "argv"), "GITHUB_ACTION_PATH": str(action), "VIRTUAL_ENV": "x"},
        temp,
        path=tmp_path / "bin",
    )
    assert done.code == 0, done.log
    environment, _, *words = json.loads((tmp_path / "argv").read_text())
    assert words[words.index("--project") + 1] == str(action)
    assert words[words.index("--extra") + 1] == "cpu"
    assert done.outputs == {"program": f"{environment}/bin/zoobench"}
    assert environment.startswith(str(temp))


def choose(repo: Path, asked: str = "") -> str:
    script = step_named("Choose what to compare with")["run"]
    done = run_script(script, repo, {"ASKED": asked}, repo.parent / "temp")
    assert done.code == 0, done.log
    return done.outputs["base"]


def test_every_week_the_last_release_is_the_base_or_else_a_week_ago(repo: Path) -> None:
    assert choose(repo, "$(touch pwned)") == "$(touch pwned)"
    assert choose(repo) == git(repo, "rev-list", "--max-parents=0", "HEAD")
    git(repo, "tag", "v0.1", "HEAD~1")
    git(repo, "tag", "v0.2", "HEAD")
    assert choose(repo) == "v0.1"


GH = """
import json, os, pathlib, sys
log = pathlib.Path(os.environ["STUB_LOG"])
words = sys.argv[1:]
if "--jq" in words:
    assert "env.MARKER" in words[words.index("--jq") + 1]
    print(os.environ["STUB_FOUND"], end="")
else:
    body = next(word for word in words if word.startswith("body=@")).removeprefix("body=@")
    log.write_text(json.dumps([words[words.index("--method") + 1], words, pathlib.Path(body).read_text()]))
"""


def comment(folder: Path, found: str) -> tuple[str, str, str]:
    """Method, end point and body."""
    step = step_named("Write the comment, or write it anew")
    assert step["env"]["MARKER"] == MARKER
    program(folder / "bin/gh", GH)
    environment = {
        "GH_TOKEN": "secret",
        "NUMBER": "7",
        "RUN": "https://host.example/run",
        "MARKER": MARKER,
        "GITHUB_REPOSITORY": "o/r",
        "STUB_FOUND": found,
        "STUB_LOG": str(folder / "log"),
    }
    done = run_script(step["run"], folder, environment, folder / "temp", path=folder / "bin")
    assert done.code == 0, done.log
    method, words, body = json.loads((folder / "log").read_text())
    return method, next(word for word in words if word.startswith("repos/")), body


def artifact(folder: Path) -> Path:
    file = folder / "temp/guard/summary.md"
    file.parent.mkdir(parents=True)
    return file


def test_the_comment_is_made_once_and_then_edited(tmp_path: Path) -> None:
    artifact(tmp_path).write_text("## summary $(touch pwned) `touch pwned`\n")
    method, place, body = comment(tmp_path, "")
    assert (method, place) == ("POST", "repos/o/r/issues/7/comments")
    assert body.startswith(f"{MARKER}\n## summary $(touch pwned) `touch pwned`\n")
    assert "https://host.example/run" in body

    method, place, _ = comment(tmp_path, "41\n42\n")
    assert (method, place) == ("PATCH", "repos/o/r/issues/comments/41")
    assert not list(tmp_path.rglob("pwned"))


def test_the_comment_without_a_summary_or_with_too_much_of_it(tmp_path: Path) -> None:
    assert "nothing was measured" in comment(tmp_path, "")[2]
    file = artifact(tmp_path)
    file.symlink_to("/proc/self/environ")
    body = comment(tmp_path, "")[2]
    assert "nothing was measured" in body
    assert "secret" not in body
    file.unlink()
    file.write_text("x" + "é" * 70_000)
    assert 29_000 < len(comment(tmp_path, "")[2]) < 65_536


BUILD = """
import sys
import numpy as np, onnx
from onnx import TensorProto, helper, numpy_helper
depth = int(open("depth").read())
random = np.random.default_rng(1)
nodes, weights, last, channels = [], [], "pixel_values", 3
for n in range(depth):
    weights.append(numpy_helper.from_array(random.normal(0, 0.1, (16, channels, 3, 3)).astype("float32"), f"w{n}"))
    nodes += [helper.make_node("Conv", [last, f"w{n}"], [f"c{n}"], pads=[1] * 4), helper.make_node("Relu", [f"c{n}"], [f"r{n}"])]
    last, channels = f"r{n}", 16
nodes += [helper.make_node("GlobalAveragePool", [last], ["p"]), helper.make_node("Flatten", ["p"], ["logits"])]
graph = helper.make_graph(
    nodes, "net",
    [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch", 3, 56, 56])],
    [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 16])],
    weights,
)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "model.onnx")
"""


@pytest.mark.alone
def test_the_real_guard_finds_a_model_that_became_slower(repo: Path) -> None:
    (repo / "build.py").write_text(BUILD)
    (repo / "zoo.toml").write_text('[net]\npath = "model.onnx"\ninput_shape = [3, 56, 56]\n')
    for depth in ("4", "16"):
        (repo / "depth").write_text(depth)
        git(repo, "add", ".")
        git(repo, "commit", "--quiet", "-m", f"depth {depth}")
    done = run_guard(
        repo,
        {
            "setup": f"{shlex.quote(sys.executable)} build.py",
            "registry": "zoo.toml",
            "args": "--wait",
        },
        event={"before": git(repo, "rev-parse", "HEAD~1")},
        zoobench=program(
            repo.parent / "zoobench", "import sys\nfrom zoobench.cli import entry\nsys.exit(entry())"
        ),
        environment={"PYTHONPATH": str(ROOT / "src")},
    )
    # On a machine that is too noisy for any decision the copy of base is not base either.
    assert done.outputs["decision"] in ("regression", "invalid"), done.log
    assert done.code == int(done.outputs["exit-code"])
    (case,) = json.loads(Path(done.outputs["json"]).read_text())
    assert case["decision"] == {"regression": "fail", "invalid": "invalid"}[done.outputs["decision"]]
    assert "net" in done.summary
    assert Path(done.outputs["junit"]).read_text().startswith("<?xml")
