"""What a user types, and the model or the one line that comes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zoobench.catalog import MODEL_REGISTRY, find, known_models, validate_hf_id
from zoobench.errors import UsageError
from zoobench.spec import ModelSpec, Published


def names(*requests: str, **entries: Any) -> list[str]:
    return [model.name for model in find(requests, {**MODEL_REGISTRY, **entries})]


def refusal(*requests: str, **entries: Any) -> str:
    with pytest.raises(UsageError) as caught:
        names(*requests, **entries)
    line = str(caught.value)
    assert "\n" not in line and "\x00" not in line and "\x1b" not in line
    assert len(line) < 300
    return line


def model_folder(path: Path, *files: str) -> Path:
    path.mkdir(parents=True)
    for file in files:
        (path / file).write_text("{}")
    return path


# Names, globs, spellings


def test_order_is_kept_and_duplicates_go() -> None:
    assert names("resnet50", "resnet18", "resnet50", "timm/resnet18.a1_in1k") == ["resnet50", "resnet18"]


def test_a_glob_means_the_names_it_matches() -> None:
    every = [name for name in MODEL_REGISTRY if name.startswith("resnet")]
    assert {"resnet18", "resnet34", "resnet50", "resnet101"} <= set(every)
    assert names("resnet*") == every
    assert names("resnet[13]*", "resnet18") == [name for name in every if name[6] in "13"]


def test_a_glob_that_matches_nothing_is_an_error() -> None:
    assert refusal("zzz*").startswith("no model matches 'zzz*'")


@pytest.mark.parametrize("text", ["mobilenetv2", "mobilenet_v2", "MobileNet-V2", "MobileNetV2_100"])
def test_other_spellings(text: str) -> None:
    assert names(text) == ["mobilenetv2_100"]


def test_a_spelling_that_fits_two_entries_means_neither() -> None:
    both = {"a_b": {"hf_id": "o/n"}, "a-b": {"hf_id": "o/m"}}
    assert names("a_b", **both) == ["a_b"]
    assert refusal("ab", **both) == "unknown model 'ab'; did you mean 'a_b', 'a-b'?"


def test_an_unknown_name_gets_the_nearest_ones() -> None:
    assert refusal("resnet81") == "unknown model 'resnet81'; did you mean 'resnet18', 'resnet101'?"


def test_a_name_like_no_other_gets_the_way_to_the_list() -> None:
    assert "zoobench models" in refusal("qqqqqq")


@pytest.mark.parametrize("requests", [[], [""], ["  "]])
def test_nothing_requested(requests: list[str]) -> None:
    assert "zoobench models" in refusal(*requests)


def test_a_single_string_is_one_request() -> None:
    assert [model.name for model in find("resnet18")] == ["resnet18"]


@pytest.mark.parametrize(
    "text",
    [
        "x\x00y",
        "\x1b[31mred",
        "x" * 5000,
        "a/" + "b" * 5000,
        "a\nb",
        "-x",
        "*\x07*",
        f"{'a' * 96}/{'b' * 96}@{'c' * 50}",
    ],
)
def test_hostile_text_is_refused_in_one_short_printable_line(text: str) -> None:
    assert refusal(text).isprintable()


# The Hub


def test_the_hub_id_of_an_entry_is_that_entry() -> None:
    assert find(["microsoft/resnet-50"]) == find(["hf_resnet50"])


def test_another_revision_of_an_entry_keeps_what_is_known_but_not_its_published_accuracy() -> None:
    entry, model = find(["resnet18", "timm/resnet18.a1_in1k@refs/pr/1"])
    assert model.name == "timm/resnet18.a1_in1k@refs/pr/1"
    assert model.revision == "refs/pr/1"
    assert (model.library, model.architecture, model.input_shape) == ("timm", "resnet18", (3, 224, 224))
    assert entry.published is not None and model.published is None


def test_an_entry_that_pins_its_revision() -> None:
    pinned = {"mine": {"hf_id": "o/n", "revision": "v1"}}
    assert names("o/n", "o/n@v1", "o/n@v2", **pinned) == ["mine", "o/n@v2"]


def test_an_unknown_timm_id_can_still_be_built_offline() -> None:
    (model,) = find(["timm/resnet26d.bt_in1k@abc123"])
    assert model == ModelSpec(
        name="timm/resnet26d.bt_in1k@abc123",
        hf_id="timm/resnet26d.bt_in1k",
        revision="abc123",
        library="timm",
        architecture="resnet26d",
    )


@pytest.mark.parametrize("text", ["org/model-name", "timm/ViT-B-16-SigLIP", "other/resnet18.a1_in1k"])
def test_of_other_hub_ids_nothing_is_assumed(text: str) -> None:
    assert find([text]) == [ModelSpec(name=text, hf_id=text)]


@pytest.mark.parametrize("text", ["gpt2", "timm/resnet18.a1_in1k", "a/b", "A-b_c.d/" + "n" * 96, "_x/y_"])
def test_valid_hub_ids(text: str) -> None:
    assert validate_hf_id(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "/",
            "a/",
            "/a",
            "a/b/c",
            "../a",
            "a/..",
            "a..b/c",
            "a--b/c",
            "a/b.git",
            ".a/b",
            "a/b.",
            "-a/b",
        ),
        *(
            "a/b-",
            "a b/c",
            "a/b\n",
            "a/b\x00",
            "a/b?x=1",
            "a/b#c",
            "a/%2e%2e",
            "a\\b",
            "é/b",
            "a/" + "n" * 97,
        ),
    ],
)
def test_hostile_hub_ids(text: str) -> None:
    with pytest.raises(UsageError, match="is not a Hugging Face Hub id"):
        validate_hf_id(text)


@pytest.mark.parametrize("revision", ["", "../x", "a..b", "a b", "-x", "a\n", "a~b", "r" * 101])
def test_hostile_revisions(revision: str) -> None:
    assert "is not a revision" in refusal(f"o/n@{revision}")
    assert "is not a revision" in refusal("m", m={"hf_id": "o/n", "revision": revision})


# Local files


def test_a_local_onnx_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my net.v2.onnx").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    expected = ModelSpec(name="my_net.v2.onnx", path=tmp_path / "my net.v2.onnx", library="onnx")
    assert find(["my net.v2.onnx"]) == [expected]
    assert find(["./my net.v2.onnx", str(tmp_path / "my net.v2.onnx")]) == [expected]


def test_a_linked_file_keeps_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "0123abcd").write_bytes(b"x")
    (tmp_path / "net.onnx").symlink_to(tmp_path / "0123abcd")
    (model,) = find([str(tmp_path / "net.onnx")])
    assert (model.name, model.path) == ("net.onnx", tmp_path / "net.onnx")


@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin"])
def test_a_local_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: str) -> None:
    folder = model_folder(tmp_path / "resnet18.mine", "config.json", weights)
    expected = ModelSpec(name="resnet18.mine/", path=folder)
    monkeypatch.chdir(tmp_path)
    assert find(["resnet18.mine"]) == find([str(folder)]) == [expected]
    monkeypatch.chdir(folder)
    (here,) = find(["."])
    assert here.name == "resnet18.mine/"


def test_a_folder_comes_before_a_hub_id_and_after_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model_folder(tmp_path / "microsoft/resnet-50", "config.json", "model.safetensors")
    model_folder(tmp_path / "resnet18", "config.json", "model.safetensors")
    local, entry = find(["microsoft/resnet-50", "resnet18"])
    assert local.path == tmp_path / "microsoft/resnet-50"
    assert entry.path is None and entry.hf_id == "timm/resnet18.a1_in1k"


def test_folders_that_are_no_models(tmp_path: Path) -> None:
    assert "holds no config.json" in refusal(str(model_folder(tmp_path / "a", "model.safetensors")))
    assert "holds no weights" in refusal(str(model_folder(tmp_path / "b", "config.json")))


def test_files_that_are_no_models(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    assert "is not an .onnx file" in refusal(str(tmp_path / "a.txt"))
    assert "no file or folder" in refusal(str(tmp_path / "b.onnx"))
    assert "no file or folder" in refusal("c.onnx")
    assert "no file or folder" in refusal("some/long/path")
    assert "whose home" in refusal("~nobody-of-this-name/x.onnx")


def test_a_file_is_not_mistaken_for_the_catalog_entry_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "resnet18.onnx").write_bytes(b"x")
    assert names("resnet18", str(tmp_path / "resnet18.onnx")) == ["resnet18", "resnet18.onnx"]


def test_two_models_of_one_name_cannot_run_together(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "net.onnx").write_bytes(b"x")
    said = refusal(str(tmp_path / "a/net.onnx"), str(tmp_path / "b/net.onnx"))
    assert said.startswith("two different models are called 'net.onnx'")


# Entries of one's own


def test_the_documented_entry() -> None:
    entry = {
        "name": "mine",
        "hf_id": "org/model-name",
        "task": "classification",
        "img_size": 224,
        "opset": 17,
    }
    (model,) = find(["mine"], {"mine": entry})
    assert model == ModelSpec(name="mine", hf_id="org/model-name", input_shape=(3, 224, 224), opset=17)


def test_registering_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODEL_REGISTRY, "mine", {"hf_id": "org/model-name"})
    assert [model.hf_id for model in find(["mine"])] == ["org/model-name"]
    assert known_models()[-1].name == "mine"


def test_an_entry_may_be_a_model_spec() -> None:
    model = ModelSpec(name="mine", hf_id="o/n")
    assert find(["mine", "o/n"], {"mine": model}) == [model]


def test_a_full_entry(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"x")
    entry = {
        "path": str(tmp_path / "net.onnx"),
        "input_shape": [1, 28, 28],
        "published": {"top1": 99, "conditions": "digits", "source": "a paper"},
        "latency_limits_ms": {"p95": 5},
        "tolerance": 1e-4,
    }
    (model,) = find(["mine"], {"mine": entry})
    assert model.path == tmp_path / "net.onnx" and model.library == "onnx"
    assert model.input_shape == (1, 28, 28)
    assert model.published == Published(top1=99, conditions="digits", source="a paper")
    assert model.latency_limits_ms == {"p95": 5.0}


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"hf_id": "o/n", "opsett": 17}, "unknown key 'opsett'; did you mean 'opset'?"),
        ({"hf_id": "o/n", "image_size": 17}, "unknown key 'image_size'; did you mean 'img_size'?"),
        ({"hf_id": "o/n", "zzz": 17}, "unknown key 'zzz'; known keys: name, hf_id"),
        ({"hf_id": "o/n", "opset": "17"}, "key 'opset' should be a valid integer, not '17'"),
        ({"hf_id": "o/n", "opset": 99}, "key 'opset' should be less than or equal to 30, not 99"),
        ({"hf_id": "o/n", "parameters": True}, "key 'parameters' should be a valid integer, not True"),
        ({"hf_id": 3}, "key 'hf_id' should be a valid string, not 3"),
        ({"hf_id": "../etc"}, "'../etc' is not a Hugging Face Hub id"),
        ({"hf_id": "o/n", "img_size": "big"}, "img_size must be a whole number from 1 to 8192, not 'big'"),
        (
            {"hf_id": "o/n", "input_shape": [3, "x", 1]},
            "key 'input_shape.1' should be a valid integer, not 'x'",
        ),
        (
            {"hf_id": "o/n", "input_shape": [0]},
            "input_shape must hold whole numbers from 1 to 65536, not (0,)",
        ),
        (
            {"hf_id": "o/n", "task": "captioning"},
            "key 'task' should be 'image_classification'",
        ),
        ({"hf_id": "o/n", "published": {"top1": 50, "source": "x"}}, "key 'published.conditions' is missing"),
        ({"hf_id": "o/n", "name": "other"}, "key 'name' says 'other'; make it 'm' or leave it out"),
        (ModelSpec(name="other", hf_id="o/n"), "key 'name' says 'other'"),
        ({"name": "m"}, "says nothing about where the model comes from"),
        ({"path": "/no/such.onnx"}, "there is no file or folder '/no/such.onnx'"),
        (["o/n"], "must be a table (in Python a dict), not ['o/n']"),
        ("o/n", "must be a table (in Python a dict), not 'o/n'"),
    ],
)
def test_a_wrong_entry_names_itself_the_key_and_the_fault(entry: Any, says: str) -> None:
    line = refusal("m", m=entry)
    assert line.startswith("registry entry 'm'")
    assert says in line


def test_a_wrong_entry_does_not_stand_in_the_way_of_others() -> None:
    assert names("resnet18", "timm/resnet50.a1_in1k", m={"opsett": 1}) == ["resnet18", "resnet50"]
    with pytest.raises(UsageError, match="registry entry 'm'"):
        known_models({"m": {"opsett": 1}})


@pytest.mark.parametrize("name", ["", "a b", "../x", "a\n", "-x", 3])
def test_names_that_cannot_be_shown_are_refused(name: Any) -> None:
    with pytest.raises(UsageError, match="a name takes letters"):
        known_models({name: {"hf_id": "o/n"}})


def test_a_registry_is_a_mapping() -> None:
    from zoobench.catalog import Registry

    path = Path(__file__).parents[2] / "src/zoobench/catalog/models.toml"
    registry = Registry(path)
    count = len(registry)
    registry["mine"] = {"hf_id": "o/n"}
    assert "mine" in registry and len(registry) == count + 1 and list(registry)[-1] == "mine"
    del registry["mine"]
    assert "mine" not in registry and "mine" not in MODEL_REGISTRY


def test_the_documented_module_is_the_same_registry() -> None:
    import model_registry

    assert model_registry.MODEL_REGISTRY is MODEL_REGISTRY


def test_a_file_of_ultralytics_is_a_detector_under_its_licence(tmp_path: Path) -> None:
    (tmp_path / "best.pt").write_bytes(b"")
    (spec,) = find([str(tmp_path / "best.pt")])
    assert (spec.name, spec.library, spec.task, spec.licence) == (
        "best.pt", "ultralytics", "object_detection", "AGPL-3.0",
    )  # fmt: skip
    (tmp_path / "best.bin").write_bytes(b"")
    assert "give one, a .pt file of ultralytics" in refusal(str(tmp_path / "best.bin"))
