"""The arrows of docs/architecture.md hold: its table is read here and compared with every import."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src/zoobench"
SHARED = ("_version", "shell", "errors", "terms", "spec", "outcome")
RUNTIMES = frozenset(
    (
        "nncf",
        "onnx",
        "onnxruntime",
        "onnxscript",
        "openvino",
        "safetensors",
        "tensorrt",
        "timm",
        "torch",
        "torchvision",
        "transformers",
    )
)


@dataclass(frozen=True)
class Row:
    layer: str
    imports: frozenset[str]
    types_only: frozenset[str]
    runtimes: frozenset[str]


@dataclass(frozen=True)
class Import:
    module: str
    target: str
    line: int
    types_only: bool

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.target}"


def table() -> dict[str, Row]:
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    rows = {}
    for line in re.findall(r"^\| `.*\|$", text, re.MULTILINE):
        layer, _, arrows, runtimes = (cell.strip() for cell in line.strip("|").split("|"))
        imports, _, types_only = arrows.partition("types only:")
        name = layer.strip("`")
        rows[name] = Row(
            name,
            _quoted(imports),
            _quoted(types_only),
            frozenset({name}) if runtimes == "yes" else _quoted(runtimes),
        )
    return rows


def _quoted(cell: str) -> frozenset[str]:
    return frozenset(re.findall(r"`([^`]+)`", cell))


def sources() -> dict[str, ast.Module]:
    """Module name within the package (`prepare`, `prepare.cache`, `__init__`) → its tree."""
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
        found[name] = ast.parse(file.read_text("utf-8"), str(file))
    return found


def imports_of(module: str, tree: ast.Module) -> Iterator[Import]:
    """Every import, wherever it stands; lazy `"module:Class"` names count too."""
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for part in node.body
        for inner in ast.walk(part)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno} imports relatively"
            targets = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _LAZY.fullmatch(node.value):
            targets = [node.value.replace(":", ".")]
        else:
            continue
        yield from (Import(module, target, node.lineno, id(node) in guarded) for target in targets)


PAGES = "show.dashboard"
_LAZY = re.compile(r"zoobench\.[\w.]+:\w+")

TABLE = table()
SOURCES = sources()
IMPORTS = [found for module, tree in SOURCES.items() for found in imports_of(module, tree)]


def layer_of(module: str) -> str:
    return module.split(".")[0]


def inner(found: Import) -> str | None:
    """The target as a module of the package, None for another package's.

    A bare `import zoobench` is no arrow: importing any module of a package imports the package itself.
    """
    if found.target == "zoobench" or layer_of(found.target) != "zoobench":
        return None
    target = found.target.removeprefix("zoobench.")
    while target and target not in SOURCES:
        target = target.rpartition(".")[0]
    return target or "__init__"


ARROWS = [
    (found, target)
    for found in IMPORTS
    if (target := inner(found)) is not None and layer_of(target) != layer_of(found.module)
]


def covered(target: str, by: frozenset[str]) -> bool:
    return any(target == name or target.startswith(f"{name}.") for name in by)


def test_every_layer_has_a_row_and_every_row_a_layer() -> None:
    assert set(TABLE) == {layer_of(module) for module in SOURCES}


def test_rows_name_only_what_exists() -> None:
    named = {name for row in TABLE.values() for name in row.imports | row.types_only | row.runtimes}
    assert named <= set(SOURCES)


def test_a_row_names_only_rows_above_it() -> None:
    order = list(TABLE)
    assert tuple(order[: len(SHARED)]) == SHARED
    upward = [
        f"{row.layer} → {name}"
        for row in TABLE.values()
        for name in row.imports | row.types_only
        if order.index(layer_of(name)) >= order.index(row.layer)
    ]
    assert upward == []


def test_shared_modules_import_only_shared_ones_above_them() -> None:
    wrong = [
        str(found)
        for found, target in ARROWS
        if found.module in SHARED and target not in SHARED[: SHARED.index(found.module)]
    ]
    assert wrong == []


@pytest.mark.parametrize("layer", [name for name in TABLE if name not in SHARED])
def test_a_layer_imports_only_what_its_row_says(layer: str) -> None:
    row = TABLE[layer]
    wrong = [
        str(found)
        for found, target in ARROWS
        if layer_of(found.module) == layer
        and target not in SHARED
        and not covered(target, row.imports)
        and not (found.types_only and covered(target, row.types_only))
    ]
    assert wrong == []


def test_runtimes_are_imported_only_where_the_table_says() -> None:
    allowed = frozenset().union(*(row.runtimes for row in TABLE.values()))
    wrong = [
        str(found)
        for found in IMPORTS
        if layer_of(found.target) in RUNTIMES and not covered(found.module, allowed)
    ]
    assert wrong == []


def test_streamlit_stays_in_the_dashboard() -> None:
    wrong = [
        str(found)
        for found in IMPORTS
        if (
            layer_of(found.target) in ("streamlit", "pandas")
            or covered(inner(found) or "", frozenset({PAGES}))
        )
        and not covered(found.module, frozenset({PAGES}))
        and str(found.target) != f"zoobench.{PAGES}"
    ]
    assert wrong == []


def test_lazy_names_exist() -> None:
    """A `"module:Class"` in a table is only imported when it is used; a slip would be found by a user."""
    lazy = {
        node.value
        for tree in SOURCES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _LAZY.fullmatch(node.value)
    }
    assert len(lazy) >= 10
    for name in lazy:
        module, _, attribute = name.removeprefix("zoobench.").partition(":")
        defined = {node.name for node in SOURCES[module].body if isinstance(node, ast.ClassDef)}
        assert attribute in defined, name


def test_no_drawers_for_leftovers() -> None:
    names = {part for module in SOURCES for part in module.split(".")}
    assert not names & {"utils", "util", "helpers", "common", "misc"}


def test_the_documented_scripts_are_a_few_lines_over_the_package() -> None:
    for name in ("benchmark", "exporter", "report_generator"):
        assert len((ROOT / f"src/{name}.py").read_text("utf-8").splitlines()) < 20, name
