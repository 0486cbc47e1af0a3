"""Models from folders and from a pretended hub, and into it."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

import geomtp
from geomtp.checkpoints import read_weights, save_weights
from geomtp.cli import main
from geomtp.hub import fetch_weights, from_pretrained, push_to_hub, write_card
from geomtp.hub.repositories import is_repo_id
from geomtp.model import ModelConfig, SourceConfig, build_model, load, save
from geomtp.types import ClassMap
from tests.hub.pretended_hub import PretendedHub, pretend


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    source = SourceConfig(ClassMap(("field", "water")), ("scene",))
    return build_model(ModelConfig("resnet10t", 64, {"photos": source})).eval()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    pretended = PretendedHub(tmp_path / "hub")
    pretend(pretended, monkeypatch)
    return pretended


def assert_same(have, want):
    assert have.config == want.config
    assert not have.training
    for (name, a), (other, b) in zip(
        have.state_dict().items(), want.state_dict().items(), strict=True
    ):
        assert name == other
        assert torch.equal(a, b)


def test_a_model_goes_to_the_hub_and_comes_back_bit_for_bit(model, hub):
    address = geomtp.push_to_hub(model, "someone/fields", licence="mit")
    assert address == "https://huggingface.co/someone/fields"
    place = hub.folder / "someone/fields/main"
    names = ["README.md", "model.json", "model.safetensors"]
    assert sorted(path.name for path in place.iterdir()) == names
    assert len(hub.commits) == 1
    assert "license: mit" in (place / "README.md").read_text()
    assert_same(geomtp.from_pretrained("someone/fields"), model)


def test_revisions(model, hub):
    push_to_hub(model, "someone/fields")
    push_to_hub(model, "someone/fields", revision="v2")
    (hub.folder / "someone/fields/main/model.safetensors").unlink()
    assert_same(from_pretrained("someone/fields", "v2"), model)
    with pytest.raises(FileNotFoundError, match="someone/fields has no revision 'v3'"):
        from_pretrained("someone/fields", "v3")


def test_files_and_folders_need_no_network(model, hub, tmp_path):
    path = tmp_path / "run" / "model.safetensors"
    save(model, path)
    assert_same(from_pretrained(path.parent), model)
    assert_same(from_pretrained(str(path)), model)
    path.rename(tmp_path / "run" / "best.safetensors")
    assert_same(from_pretrained(tmp_path / "run" / "best.safetensors"), model)
    assert hub.asked == []
    with pytest.raises(ValueError, match=r"a revision is of a repository, but .*best"):
        from_pretrained(tmp_path / "run" / "best.safetensors", "v2")


def test_mistyped_folders_are_not_asked_for(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "first").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="there is no runs/frist here, and it is no repos"):
        from_pretrained("runs/frist")
    for name in ("./a/b", "a/b/c", "a", "~/a", "/a/b", "a/model.safetensors", "runs/x", "../b"):
        assert not is_repo_id(name), name
    assert is_repo_id("some-one/fields_v1.2")
    assert hub.asked == []


def test_folders_and_repositories_without_our_weights(hub, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        FileNotFoundError, match=r"empty holds no model.safetensors or encoder.*noth"
    ):
        from_pretrained(tmp_path / "empty")
    hub.add("someone/bert", {"pytorch_model.bin": b"x", "config.json": b"{}"})
    sentence = r"someone/bert holds no model.* only config.json, pytorch_model.bin: geomtp reads"
    with pytest.raises(FileNotFoundError, match=sentence):
        from_pretrained("someone/bert")


def test_weights_of_another_library(hub, tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        ValueError, match=r"holds weights of another library, not of geomtp: import"
    ):
        from_pretrained(tmp_path)
    (tmp_path / "README.md").write_text("---\nlibrary_name: transformers\n---\n# x\n")
    with pytest.raises(ValueError, match="weights of the library 'transformers', not of geomtp"):
        from_pretrained(tmp_path)
    hub.add("a/vit", {"model.safetensors": (tmp_path / "model.safetensors").read_bytes()})
    with pytest.raises(ValueError, match="a/vit holds weights of another library"):
        from_pretrained("a/vit")


def test_nothing_is_unpickled(hub, tmp_path):
    fired = tmp_path / "fired"

    class Bomb:
        def __reduce__(self):
            return (fired.write_text, ("boom",))

    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.safetensors").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match=r"is not a whole .safetensors file"):
        from_pretrained(tmp_path / "run")
    hub.add("evil/model", {"model.safetensors": pickle.dumps(Bomb())})
    with pytest.raises(ValueError, match=r"is not a whole .safetensors file"):
        from_pretrained("evil/model")
    assert not fired.exists()


def test_no_such_repository_and_nobody_to_ask(hub, tmp_path):
    with pytest.raises(FileNotFoundError, match="the hub has no model someone/gone; if it is pri"):
        from_pretrained("someone/gone")
    with pytest.raises(OSError, match=r"refused stranger/x \(403 Forbidden\); if it is yours, log"):
        push_to_hub(_small_file(tmp_path), "stranger/x")
    with pytest.raises(OSError, match=r"the hub cannot be asked for cut-off/x \(no route\); try"):
        push_to_hub(_small_file(tmp_path), "cut-off/x")


def test_offline_by_the_real_library(tmp_path):
    with pytest.raises(OSError, match="someone/gone is not on this machine and the hub cannot be"):
        from_pretrained("someone/gone", cache_dir=tmp_path)
    with pytest.raises(OSError, match="someone/gone is not on this machine and the hub cannot be"):
        push_to_hub(_small_file(tmp_path), "someone/gone", token="hf_x")
    with pytest.raises(
        ValueError, match=r"neither a file or folder here nor a repository USER/NAME"
    ):
        push_to_hub(_small_file(tmp_path), "a/b/c", token="hf_x")


def _small_file(folder):
    info = {"kind": "encoder", "encoder": "resnet10t", "image_size": 64, "in_channels": 3}
    save_weights({"a": torch.arange(3.0)}, folder / "small.safetensors", info)
    return folder / "small.safetensors"


def test_an_encoder_alone_is_fetched_and_says_how_to_load_it(hub, tmp_path):
    push_to_hub(_small_file(tmp_path), "someone/encoder")
    path = fetch_weights("someone/encoder")
    assert path.name == "encoder.safetensors"
    with pytest.raises(
        ValueError, match=r"an encoder alone: load it by .*'resnet10t', image_size=64"
    ):
        from_pretrained("someone/encoder")


def test_descriptions_of_strangers_are_refused_in_a_sentence(model, tmp_path):
    path = tmp_path / "model.safetensors"
    save(model, path)
    weights, info = read_weights(path)
    for changed in ({"colour": 3}, {"sources": {"x": {}}}, {"encoder": "resnet18"}):
        save_weights(weights, path, {**info, "model": {**info["model"], **changed}})
        with pytest.raises(ValueError, match="describes a model that this geomtp cannot build"):
            load(path)


def test_loading_downloads_nothing(model, tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    save(model, path)
    weights, info = read_weights(path)
    info["model"]["encoder_options"] = {"download": True}
    save_weights(weights, path, info)
    assert_same(load(path), model)  # offline, a download would fail


def test_the_card_beside_the_file_is_kept_where_it_is_of_this_file(model, hub, tmp_path):
    path = tmp_path / "run" / "model.safetensors"
    save(model, path)
    card = write_card(path)
    card.write_text(card.read_text().replace("# run", "# My fields"))
    push_to_hub(path.parent, "someone/fields")
    sent = hub.folder / "someone/fields/main/README.md"
    assert "# My fields" in sent.read_text()
    with pytest.raises(ValueError, match=r"README.md names the licence 'unknown', not 'mit': mend"):
        push_to_hub(path.parent, "someone/fields", licence="mit")
    card.write_text(card.read_text().replace("license: unknown", "license: mit"))
    push_to_hub(path.parent, "someone/fields", licence="mit")
    assert "# My fields" in sent.read_text()
    other = build_model(model.config)
    save(other, path)
    push_to_hub(path.parent, "someone/fields")
    assert "# My fields" not in sent.read_text()


def test_the_commands(model, hub, tmp_path, capsys):
    path = tmp_path / "run" / "model.safetensors"
    save(model, path)
    assert main(["weights", "push", str(path.parent), "someone/fields", "--licence", "mit"]) == 0
    assert capsys.readouterr().out == "https://huggingface.co/someone/fields\n"
    out = tmp_path / "fetched"
    assert main(["weights", "fetch", "someone/fields", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out / 'model.safetensors'}\n"
    assert_same(load(out / "model.safetensors"), model)
    assert main(["weights", "fetch", "someone/gone", "--out", str(out)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("geomtp: the hub has no model someone/gone")
    assert said.count("\n") == 1
