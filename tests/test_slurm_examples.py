"""The jobs in docs/slurm: what they run is run here, up to the first image."""

import re
import subprocess
from pathlib import Path

import pytest

from geomtp.cli import main

FOLDER = Path(__file__).parents[1] / "docs/slurm"
JOBS = {path.stem: path for path in sorted(FOLDER.glob("*.sbatch"))}
WORDS = {"evaluate": ["RUN_A", "RUN_B"], "finetune": ["spacenet_v1", "RUN"]}

GEOMTP = '#!/bin/bash\nprintf "%s\\n" "$@" "" >> "$TYPED"\n'
SRUN = '#!/bin/bash\nwhile [[ $1 == --* ]]; do shift 2; done\nexec "$@"\n'


class Parsed(Exception):
    """Raised in place of the work, with the settings that it was asked for."""


def stop_at_work(monkeypatch):
    def work(config, *others):
        raise Parsed(config)

    for name in (
        "geomtp.training.mtp.pretrain_mtp",
        "geomtp.training.finetune.finetune",
        "geomtp.evaluation.run.evaluate",
        "geomtp.evaluation.submission_check.check_submission",
        "geomtp.evaluation.submission_files.Expected.of_folder",
    ):
        monkeypatch.setattr(name, work)


def commands_of(job, tmp_path):
    """The words of each call of geomtp, as the shell passes them."""
    for name, content in (("geomtp", GEOMTP), ("srun", SRUN)):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        path.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin",
        "TYPED": str(tmp_path / "typed"),
        "DATA": str(tmp_path / "data"),
        "SCRATCH": str(tmp_path),
        "SLURM_ARRAY_TASK_ID": "1",
    }
    words = ["bash", str(JOBS[job]), *WORDS.get(job, [])]
    subprocess.run(words, env=environment, check=True, timeout=60)
    typed = (tmp_path / "typed").read_text()
    return [command.split("\n") for command in typed.strip("\n").split("\n\n")]


@pytest.mark.parametrize("job", JOBS)
def test_the_commands_of_a_job_parse(job, tmp_path, monkeypatch):
    stop_at_work(monkeypatch)
    commands = commands_of(job, tmp_path)
    configs = []
    for words in commands:
        with pytest.raises(Parsed) as parsed:
            main(words)
        configs.append(parsed.value.args[0])
    said = dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)", JOBS[job].read_text(), re.MULTILINE))
    first = configs[0]
    if job == "evaluate":
        assert first.checkpoint == Path("RUN_B/model.safetensors")
        assert len(commands) == 2
        return
    assert first.nodes == int(said["nodes"])
    assert first.devices == int(said["ntasks-per-node"]) == int(said["gpus-per-node"])
    assert first.workers < int(said["cpus-per-task"])
    assert not first.resume
    assert said["signal"] == "SIGTERM@120"


@pytest.mark.parametrize("job", [name for name in JOBS if name != "evaluate"])
def test_a_job_that_was_stopped_goes_on(job, tmp_path, monkeypatch):
    stop_at_work(monkeypatch)
    out = next(w for w in commands_of(job, tmp_path)[0] if w.startswith(f"{tmp_path}/runs/"))
    (Path(out) / "checkpoints").mkdir(parents=True)
    (Path(out) / "checkpoints/last.ckpt").touch()
    (tmp_path / "typed").unlink()
    with pytest.raises(Parsed) as parsed:
        main(commands_of(job, tmp_path)[0])
    assert parsed.value.args[0].resume


def test_fine_tuning_takes_the_recipes_step_and_the_pretrained_decoder(tmp_path, monkeypatch):
    stop_at_work(monkeypatch)
    training, evaluation = commands_of("finetune", tmp_path)
    with pytest.raises(Parsed) as parsed:
        main(training)
    config = parsed.value.args[0]
    assert config.batch_size * config.devices == 8  # as spacenet_v1.yaml says
    assert (config.source, config.encoder, config.reuse_decoder) == (
        "spacenet_v1", "vit_l_rvsa", True
    )  # fmt: skip
    assert config.weights == "RUN/model.safetensors"
    with pytest.raises(Parsed) as parsed:
        main(evaluation)
    assert parsed.value.args[0].checkpoint == config.out / "best.safetensors"
