"""The commands as a user types them."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch

from geomtp.checkpoints import read_weights
from geomtp.cli import main
from geomtp.commands.labels import EXPORT_FORMATS, LABEL_FORMATS, LABEL_SEGMENTERS
from geomtp.encoders.presets import create_encoder
from geomtp.labels import READERS, LabelStore
from geomtp.labels.exports.by_name import EXPORTS
from geomtp.labels.segmenters.by_name import SEGMENTER_NAMES
from geomtp.training.run_folder import RunFolder
from tests.labels.scenes import draw_scenes
from tests.training.runs import draw_data

SMALL = [
    "--encoder", "test_resnet", "--image-size", "64", "--semantic-channels", "8",
    "--detector-channels", "8", "--fc-channels", "16", "--proposals", "50", "--rois", "32",
    "--batch-size", "2", "--workers", "0", "--pictures", "1", "--accelerator", "cpu",
]  # fmt: skip


def geomtp(*words, **options):
    return subprocess.run(
        [sys.executable, "-m", "geomtp.cli", *words],
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )


VERBS = [
    "", "demo", "labels", "labels export", "labels report", "data", "pretrain", "pretrain mae",
    "pretrain mtp", "finetune", "evaluate", "predict", "study", "study stages", "weights",
    "recipes", "serve",
]  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_help_comes_at_once_and_has_an_example(verb):
    before = os.times()
    done = geomtp(*verb.split(), "--help")
    after = os.times()
    spent = after.children_user - before.children_user
    spent += after.children_system - before.children_system
    assert spent < 2.0  # processor seconds, python's start included: other work does not count
    assert done.returncode == 0
    assert "usage: geomtp" in done.stdout
    if verb:
        assert "example: geomtp" in done.stdout


def test_an_unknown_verb_is_refused():
    done = geomtp("pretend")
    assert done.returncode == 2
    assert "invalid choice: 'pretend'" in done.stderr


def test_recipes_are_listed_and_shown():
    assert re.search(r"^samrs +SAMRS", geomtp("recipes").stdout, re.MULTILINE)
    assert "embedded_harbour:" in geomtp("recipes", "demo").stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pretrain", "mtp", "--config", "demo", "--stpes", "3"], "did you mean 'steps'?"),
        (["pretrain", "mtp", "--config", "gone"], "no recipe 'gone'"),
        (["weights", "inspect", "missing.pth"], "missing.pth"),
        (["labels", "export", "none", "--format", "dota", "--out", "s"], "holds no label store"),
    ],
)
def test_mistakes_give_one_sentence_and_no_traceback(words, message):
    done = geomtp(*words)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.startswith("geomtp: ")
    assert done.stderr.count("\n") == 1


def test_the_help_names_all_that_can_be_chosen():
    assert ", ".join(sorted(READERS)) == LABEL_FORMATS
    assert set(LABEL_SEGMENTERS.split(", ")) == set(SEGMENTER_NAMES)
    assert LABEL_FORMATS in " ".join(geomtp("labels", "--help").stdout.split())
    assert ", ".join(EXPORTS) == EXPORT_FORMATS


def typed(capsys, *words):
    """As ``geomtp``, in this process."""
    status = main(words)
    said = capsys.readouterr()
    return subprocess.CompletedProcess(words, status, said.out, said.err)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("none none --format dota --out s", "none is no folder"),
        ("none none --format x --out s", "unknown annotation format 'x'"),
        ("none none --format dota --out s --segmenter sam", "the segmenter 'sam' needs weights"),
        ("none none --format dota --out s --tile 100", "got size 100 and gap 200"),
        ("report none", "none holds no label store"),
    ],
)
def test_mistakes_with_labels(capsys, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    done = typed(capsys, "labels", *words.split())
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "s").exists()


def test_labels_are_made_exported_and_shown(tmp_path, capsys):
    draw_scenes(tmp_path, 6)
    images, text = str(tmp_path / "images"), str(tmp_path / "labels")
    store = tmp_path / "data/made"
    words = [
        "labels", images, text, "--format", "dota", "--segmenter", "polygon", "--out", str(store),
        "--val-share", "0.4", "--classes", "ship,plane,storage tank", "--gsd", "0.5",
    ]  # fmt: skip
    done = typed(capsys, *words)
    assert done.returncode == 0, done.stderr
    assert "6 images, 3 classes: ship, plane, storage tank" in done.stdout
    assert f"report: {store / 'report.html'}" in done.stdout
    assert f"store: {store}" in done.stdout
    opened = LabelStore.open(store)
    assert (len(opened), len(opened.subset("val")), opened.gsd_m) == (6, 2, 0.5)
    again = typed(capsys, *words)
    assert (again.returncode, again.stdout.count("finished: nothing to do")) == (0, 1)
    other = typed(capsys, *words, "--segmenter", "box")
    assert other.returncode == 1
    assert "segmenter (was 'polygon', now 'box')" in other.stderr
    assert other.stderr.count("\n") == 1
    out = str(tmp_path / "out")
    exported = typed(capsys, "labels", "export", str(store), "--format", "dota", "--out", out)
    assert exported.stdout == f"6 images of made written to {out} (dota)\n"
    shown = typed(capsys, "labels", "report", str(store), "--out", out)
    assert shown.stdout == f"report: {out}/report.html\n"


def test_an_image_that_cannot_be_labelled_is_named(tmp_path, capsys):
    draw_scenes(tmp_path, 4)
    _truncate(tmp_path / "images/02.png")
    words = ["labels", str(tmp_path / "images"), str(tmp_path / "labels"), "--format", "dota"]
    words += ["--mean", "0,0,0", "--std", "1,1,1", "--out", str(tmp_path / "store")]
    done = typed(capsys, *words)
    assert done.returncode == 1
    assert "could not be read: 02.png: " in done.stderr
    assert "geomtp: images that could not be read and are not in the store: 1; " in done.stderr
    assert "Traceback" not in done.stderr
    assert len(LabelStore.open(tmp_path / "store")) == 3
    left_out = typed(capsys, *words, "--skip-bad")
    assert left_out.returncode == 0
    assert "could not be read: 02.png: " in left_out.stderr


@pytest.mark.slow
def test_processes_of_a_launcher_make_one_store(tmp_path):
    draw_scenes(tmp_path, 9)
    words = ["labels", str(tmp_path / "images"), str(tmp_path / "labels"), "--format", "dota"]
    words += ["--images-per-shard", "2", "--out", str(tmp_path / "store")]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "geomtp.cli", *words],
            env={**os.environ, "RANK": str(rank), "WORLD_SIZE": "3"},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in (2, 1, 0)
    ]  # fmt: skip
    for process in running:
        said, complaints = process.communicate(timeout=120)
        assert process.returncode == 0, complaints
        assert ("store: " in said) == (process is running[-1])
    store = LabelStore.open(tmp_path / "store")
    assert [row.image for row in store] == [f"{i:02d}.png" for i in range(9)]


@pytest.mark.slow
def test_pretraining_reads_a_store_made_by_labels(tmp_path):
    draw_scenes(tmp_path, 8)
    done = geomtp(
        "labels", str(tmp_path / "images"), str(tmp_path / "labels"), "--format", "dota",
        "--out", str(tmp_path / "data/made"), "--val-share", "0.3", "--processes", "2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = geomtp(
        "pretrain", "mtp", "--sources", "made", "--data", str(tmp_path / "data"), *SMALL,
        "--steps", "2", "--resize-relative-to", "image", "--out", str(tmp_path / "run"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "rotated/ap50" in done.stdout
    assert RunFolder(tmp_path / "run").model.is_file()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return draw_data(tmp_path_factory.mktemp("data"))


@pytest.mark.slow
def test_pretraining_stops_on_ctrl_c_and_resumes(data, tmp_path):
    out = tmp_path / "run"
    words = ["pretrain", "mtp", "--sources", "town,harbour", "--data", str(data), "--out", str(out)]
    running = subprocess.Popen(
        [sys.executable, "-m", "geomtp.cli", *words, *SMALL, "--steps", "400", "--log-every", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    metrics = RunFolder(out).metrics
    for _ in range(1200):
        if metrics.exists() and metrics.stat().st_size > 2000:
            break
        time.sleep(0.1)
    os.kill(running.pid, signal.SIGINT)
    said, complaints = running.communicate(timeout=120)
    assert running.returncode == 130, complaints
    assert "nothing is lost" in said
    how = re.search(r"geomtp (pretrain mtp --config \S+ --resume)", said)[1].split()
    step = torch.load(RunFolder(out).last, weights_only=True)["global_step"]
    assert 0 < step < 400
    other = geomtp(*how, "--steps", str(step + 2))
    assert other.returncode == 1
    assert "steps (was 400" in other.stderr
    config = RunFolder(out).config
    config.write_text(config.read_text().replace("steps: 400", f"steps: {step + 2}"))
    resumed = geomtp(*how)
    assert resumed.returncode == 0, resumed.stderr
    assert "rotated/ap50" in resumed.stdout
    assert RunFolder(out).model.is_file()


@pytest.mark.slow
def test_official_weights_go_in_and_out(tmp_path):
    encoder = create_encoder("vit_t_rvsa", image_size=64)
    torch.save(
        {"state_dict": {f"encoder.{theirs}": encoder.state_dict()[ours]
                        for ours, theirs in encoder.official_keys().items()}},
        tmp_path / "official.pth",
    )  # fmt: skip
    done = geomtp(
        "weights", "import", str(tmp_path / "official.pth"), "--encoder", "vit_t_rvsa",
        "--image-size", "96", "--out", str(tmp_path / "ours.safetensors"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(r"interpolated +9", done.stdout)  # positions, and two tables in four blocks
    _, info = read_weights(tmp_path / "ours.safetensors")
    assert info["image_size"] == 96
    shown = geomtp("weights", "inspect", str(tmp_path / "ours.safetensors"))
    assert "geomtp encoder" in shown.stdout
    exported = geomtp(
        "weights", "export", str(tmp_path / "ours.safetensors"), "--out", str(tmp_path / "out.pth")
    )
    assert exported.returncode == 0, exported.stderr
    tensors = torch.load(tmp_path / "out.pth", weights_only=True)["state_dict"]
    assert tensors["pos_embed"].shape == (1, 36, 192)
    key = "blocks.0.attn.sampling_offsets.2.weight"
    assert tensors[key].equal(encoder.state_dict()["blocks.0.attn.sampling_offsets.weight"])


def _truncate(path):
    path.write_bytes(path.read_bytes()[:200])


@pytest.mark.slow
@pytest.mark.parametrize("spoil", [_truncate, lambda path: path.unlink()], ids=["cut", "gone"])
@pytest.mark.parametrize("workers", ["0", "1"])
def test_an_image_that_cannot_be_read_is_named(tmp_path, spoil, workers):
    data = draw_data(tmp_path / "data")
    spoil(data / "town" / "images" / "train-00002.png")
    words = ["pretrain", "mtp", "--sources", "town", "--data", str(data), *SMALL]
    words += ["--steps", "5", "--workers", workers]
    done = geomtp(*words, "--out", str(tmp_path / "run"))
    assert done.returncode == 1, done.stderr
    assert "train-00002.png" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    left_out = geomtp(*words, "--out", str(tmp_path / "other"), "--skip-bad")
    assert left_out.returncode == 0, left_out.stderr


@pytest.mark.slow
def test_weights_of_something_else_are_refused(data, tmp_path):
    other = tmp_path / "other.pth"
    torch.save({"state_dict": {"fc.weight": torch.zeros(3, 3)}}, other)
    text = tmp_path / "text.pth"
    text.write_text("no weights")
    words = ["pretrain", "mtp", "--sources", "town", "--data", str(data), *SMALL, "--steps", "1"]
    for name, message in [(other, "fc.weight"), (text, "text.pth"), (tmp_path / "no", "no")]:
        done = geomtp(*words, "--weights", str(name), "--out", str(tmp_path / name.stem))
        assert done.returncode == 1
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
