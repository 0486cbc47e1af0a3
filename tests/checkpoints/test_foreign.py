import argparse
import collections
import os
import pickle
import sys
import types
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from geomtp.checkpoints.foreign import read_foreign

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(3)}


def assert_weights(tensors, want=WEIGHTS):
    assert set(tensors) == set(want)
    for key, tensor in want.items():
        assert torch.equal(tensors[key], tensor)


@pytest.fixture(params=[True, False], ids=["zip", "before 1.6"])
def save(request, tmp_path):
    """Writes a file by torch.save, in its present or its old format."""

    def write(content, name="file.pth"):
        path = tmp_path / name
        torch.save(content, path, _use_new_zipfile_serialization=request.param)
        return path

    return write


def mtp_file():
    """What the official pretraining writes."""
    module = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)
    module(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    return {
        "epoch": 3,
        "iteration": 1000,
        "state_dict": collections.OrderedDict(WEIGHTS),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "loss_pretrain": np.linspace(9, 1, 50),
    }


def test_files_of_the_official_pretraining(save):
    assert_weights(read_foreign(save(mtp_file())))


@pytest.mark.parametrize("kind", ["float32", "float64", "int64", "bool", "object"])
def test_numpy_arrays_and_numbers_beside_the_weights(save, kind):
    content = {"state_dict": WEIGHTS, "losses": np.ones(3, dtype=kind), "best": np.float64(0.5)}
    assert_weights(read_foreign(save(content)))


@pytest.mark.parametrize("core", ["core", "_core"])
def test_arrays_by_their_names_in_numpy_1_and_2(tmp_path, core):
    path = tmp_path / "file.pth"
    torch.save({"model": WEIGHTS, "losses": np.ones(3), "best": np.float32(2)}, path)
    renamed = tmp_path / "renamed.pth"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(renamed, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename.endswith("data.pkl"):
                wanted = f"numpy.{core}.multiarray".encode()
                for present in (b"numpy._core.multiarray", b"numpy.core.multiarray"):
                    data = data.replace(present, wanted)
                assert wanted in data
            new.writestr(entry, data)
    assert_weights(read_foreign(renamed))


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": WEIGHTS, "model": {"other": torch.zeros(1)}},
        {"model": WEIGHTS, "epoch": 4},
        WEIGHTS,
        {"model": {f"module.{key}": value for key, value in WEIGHTS.items()}},
        {**WEIGHTS, "epoch": 4, "name": "x"},
        {"state_dict": {key: torch.nn.Parameter(v.float()) for key, v in WEIGHTS.items()}},
    ],
    ids=["state_dict", "model", "plain", "module.", "with numbers", "parameters"],
)
def test_where_the_weights_lie(save, content):
    tensors = read_foreign(save(content))
    assert_weights(tensors, WEIGHTS)
    assert not any(tensor.requires_grad for tensor in tensors.values())


def test_safetensors(tmp_path):
    save_file({"module.a": torch.ones(2)}, tmp_path / "m.safetensors")
    assert_weights(read_foreign(tmp_path / "m.safetensors"), {"a": torch.ones(2)})
    (tmp_path / "m.safetensors").write_bytes(b"no weights at all")
    with pytest.raises(ValueError, match=r"is not a whole .safetensors file"):
        read_foreign(tmp_path / "m.safetensors")


@pytest.fixture
def history_buffer(monkeypatch):
    """A class like the log of mmengine, which pickles its own methods; gone after the test."""

    class HistoryBuffer:
        def __init__(self):
            self.history = np.ones(4)
            self.methods = {"mean": HistoryBuffer.mean}

        def mean(self):
            return self.history.mean()

    module = types.ModuleType("mmengine.logging.history_buffer")
    module.HistoryBuffer = HistoryBuffer
    HistoryBuffer.__module__ = module.__name__
    HistoryBuffer.__qualname__ = "HistoryBuffer"
    HistoryBuffer.mean.__module__ = module.__name__
    HistoryBuffer.mean.__qualname__ = "HistoryBuffer.mean"
    for name in ("mmengine", "mmengine.logging"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    yield HistoryBuffer
    monkeypatch.undo()


def test_logs_of_mmengine_are_passed_over(save, history_buffer, monkeypatch):
    scalars = collections.OrderedDict(loss=history_buffer())
    content = {
        "meta": {"epoch": 12, "dataset_meta": {"classes": ("a", "b")}, "cfg": "model = dict()"},
        "state_dict": WEIGHTS,
        "message_hub": {"log_scalars": scalars, "runtime_info": {}, "resumed_keys": {}},
    }
    path = save(content)
    monkeypatch.undo()
    assert "mmengine.logging.history_buffer" not in sys.modules
    assert_weights(read_foreign(path))
    assert "mmengine" not in sys.modules


def test_command_lines_of_mae_are_passed_over(save):
    assert_weights(read_foreign(save({"model": WEIGHTS, "args": argparse.Namespace(lr=1.0)})))


class Harm:
    def __init__(self, function, argument):
        self.function, self.argument = function, argument

    def __reduce__(self):
        return self.function, (self.argument,)


@pytest.mark.parametrize("function, name", [(os.system, "posix.system"), (exec, "builtins.exec")])
def test_files_that_ask_for_code_are_refused(save, tmp_path, function, name):
    trace = tmp_path / "trace"
    argument = f"touch {trace}" if function is os.system else f"open({str(trace)!r}, 'w')"
    path = save({"state_dict": WEIGHTS, "log": Harm(function, argument)})
    with pytest.raises(ValueError, match=f"was refused: besides weights it holds {name}") as caught:
        read_foreign(path)
    assert "\n" not in str(caught.value)
    assert not trace.exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_pickles_that_ask_for_code_are_refused(tmp_path, protocol):
    trace, path = tmp_path / "trace", tmp_path / "file.pth"
    path.write_bytes(pickle.dumps({"a": Harm(os.system, f"touch {trace}")}, protocol))
    with pytest.raises(ValueError, match=r"was refused: .*posix.system"):
        read_foreign(path)
    assert not trace.exists()


class Reach:
    """Asks for dict.fromkeys through getattr."""

    def __reduce__(self):
        return getattr, (collections.OrderedDict, "fromkeys")


def test_getattr_serves_skipped_objects_only(tmp_path):
    path = tmp_path / "file.pth"
    torch.save({"model": WEIGHTS, "args": argparse.Namespace(), "reach": Reach()}, path)
    with pytest.raises(ValueError, match=r"was refused: besides weights it holds builtins.getattr"):
        read_foreign(path)


def test_whole_pickled_models_are_refused(save):
    with pytest.raises(ValueError, match=r"was refused: .*torch.nn.modules.linear.Linear"):
        read_foreign(save({"model": torch.nn.Linear(2, 2)}))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.95])
def test_cut_files_are_named(save, share):
    path = save({"state_dict": {"w": torch.zeros(5000)}})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"file.pth cannot be read as a PyTorch file: .*begins"):
        read_foreign(path)


def test_mistakes_are_named(save, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no weights at .*none.pth"):
        read_foreign(tmp_path / "none.pth")
    with pytest.raises(ValueError, match="expected tensors by name, found entries 'epoch', 'lr'"):
        read_foreign(save({"epoch": 3, "lr": 0.1}))
    with pytest.raises(ValueError, match="found no entries"):
        read_foreign(save({"state_dict": {}}))
    with pytest.raises(ValueError, match="expected tensors by name, found Tensor"):
        read_foreign(save(torch.zeros(3)))
    pointer = tmp_path / "pointer.pth"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n")
    with pytest.raises(ValueError, match=r"begins with b'version https://'"):
        read_foreign(pointer)
