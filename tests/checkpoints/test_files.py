import errno
import json
import os
import signal
import stat

import pytest
import torch
from safetensors.torch import load_file, save_file

from geomtp.checkpoints import files
from geomtp.checkpoints.files import read_weights, replacing, save_weights, sha256_of

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "count": torch.tensor(7)}
INFO = {"name": "tiny", "sizes": [2, 3], "nested": {"lr": 1e-4, "note": "größer"}, "none": None}


def assert_equal(have, want):
    assert list(have) == sorted(want)
    for key, tensor in want.items():
        assert have[key].dtype == tensor.dtype
        assert torch.equal(have[key], tensor)


def test_round_trip(tmp_path):
    path = tmp_path / "new" / "model.safetensors"
    save_weights(WEIGHTS, path, INFO)
    tensors, info = read_weights(path)
    assert_equal(tensors, WEIGHTS)
    assert info == INFO
    assert json.loads(path.with_suffix(".json").read_text(encoding="utf-8")) == INFO
    assert sorted(p.name for p in path.parent.iterdir()) == ["model.json", "model.safetensors"]


def test_other_programs_can_read_the_weights(tmp_path):
    save_weights(WEIGHTS, tmp_path / "m.safetensors", INFO)
    assert_equal(dict(sorted(load_file(tmp_path / "m.safetensors").items())), WEIGHTS)


def test_files_have_the_usual_permissions(tmp_path):
    save_weights(WEIGHTS, tmp_path / "m.safetensors", INFO)
    (tmp_path / "plain").touch()
    modes = {stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
    assert len(modes) == 1


def test_shared_strided_and_trained_tensors_are_stored_each_for_itself(tmp_path):
    table = torch.arange(12.0).reshape(3, 4)
    parameter = torch.nn.Parameter(torch.ones(2))
    tied = {
        "a": table,
        "b": table,
        "row": table[1],
        "turned": table.T,
        "p": parameter,
        "half": torch.tensor([1.5], dtype=torch.bfloat16),
        "none": torch.zeros(0, 4),
        "none_too": torch.zeros(0, 4),
    }
    save_weights(tied, tmp_path / "m.safetensors", {})
    tensors, info = read_weights(tmp_path / "m.safetensors")
    assert info == {}
    assert_equal(tensors, {key: value.detach() for key, value in tied.items()})


def write_half(tensors, path, metadata):
    save_file(tensors, path, metadata)
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size // 2)
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_the_earlier_checkpoint_whole(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    save_weights(WEIGHTS, path, {"step": 1})
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    monkeypatch.setattr(files, "save_file", write_half)
    with pytest.raises(OSError) as caught:
        save_weights({"a.weight": torch.zeros(9)}, path, {"step": 2})
    message = str(caught.value)
    assert "No space left on device" in message
    assert message.endswith("the file there before is kept whole")
    assert "\n" not in message
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    assert read_weights(path)[1] == {"step": 1}


def test_a_failed_first_write_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "save_file", write_half)
    with pytest.raises(OSError, match="no file was left there"):
        save_weights(WEIGHTS, tmp_path / "model.safetensors", INFO)
    assert list(tmp_path.iterdir()) == []


def test_the_real_writer_running_out_of_room(tmp_path):
    resource = pytest.importorskip("resource")
    if signal.getsignal(signal.SIGXFSZ) != signal.SIG_IGN:
        pytest.skip("a file above the limit would end this process")
    path = tmp_path / "model.safetensors"
    save_weights(WEIGHTS, path, {"step": 1})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"File too large.*kept whole"):
            save_weights({"big": torch.zeros(100_000)}, path, {"step": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert_equal(read_weights(path)[0], WEIGHTS)
    assert len(list(tmp_path.iterdir())) == 2


def test_info_and_weights_are_of_one_checkpoint_though_the_sidecar_is_stale(tmp_path):
    path = tmp_path / "model.safetensors"
    save_weights(WEIGHTS, path, {"step": 2})
    path.with_suffix(".json").write_text('{"step": 1}')
    assert read_weights(path)[1] == {"step": 2}
    path.with_suffix(".json").unlink()
    assert read_weights(path)[1] == {"step": 2}


def test_the_sidecar_describes_weights_that_do_not_describe_themselves(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(WEIGHTS, path)
    with pytest.raises(ValueError, match=r"nothing describes the weights beside .*model.json"):
        read_weights(path)
    path.with_suffix(".json").write_text('{"step": 3}')
    assert read_weights(path)[1] == {"step": 3}
    path.with_suffix(".json").write_text('{"step": ')
    with pytest.raises(ValueError, match="is not whole JSON"):
        read_weights(path)
    path.with_suffix(".json").write_text("[3]")
    with pytest.raises(ValueError, match="must hold one JSON object, found list"):
        read_weights(path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.9])
def test_cut_files_are_named(tmp_path, share):
    path = tmp_path / "model.safetensors"
    save_weights({"w": torch.zeros(1000)}, path, INFO)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"model.safetensors is not a whole .safetensors file"):
        read_weights(path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("model.safetensors", "copy it again"),
        ("last.ckpt", "the run's model.safetensors"),
        ("released.pth", "geomtp weights import"),
    ],
)
def test_what_is_no_weights_of_ours_is_told_by_its_kind(tmp_path, name, said):
    (tmp_path / name).write_bytes(b"PK something else")
    with pytest.raises(ValueError, match=said):
        read_weights(tmp_path / name)


def test_mistakes_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no weights at .*none.safetensors"):
        read_weights(tmp_path / "none.safetensors")
    with pytest.raises(FileNotFoundError, match="a folder: name a file in it"):
        read_weights(tmp_path)
    with pytest.raises(ValueError, match=r"ending in .safetensors, got model.pth"):
        save_weights(WEIGHTS, tmp_path / "model.pth", INFO)
    with pytest.raises(ValueError, match=r"does not fit into JSON: .*Tensor"):
        save_weights(WEIGHTS, tmp_path / "m.safetensors", {"x": torch.zeros(1)})
    with pytest.raises(ValueError, match="'step' holds int"):
        save_weights({"step": 3}, tmp_path / "m.safetensors", INFO)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"could not write .*no file was left there"):
        save_weights(WEIGHTS, tmp_path / "file" / "m.safetensors", INFO)


def test_replacing_serves_any_writer(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError), replacing(path) as beside:
        beside.write_text("half of \udc00", encoding="utf-8")
    assert path.read_text() == "old"
    with replacing(path) as beside:
        beside.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_known_hash(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a").startswith("ba7816bf8f01cfea")
