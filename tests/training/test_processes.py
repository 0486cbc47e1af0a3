"""Two processes train like one with the batches of both."""

import os
import socket
import subprocess
import sys

import pytest
import torch

from geomtp.training.run_folder import RunFolder
from tests.training.runs import draw_data

pytestmark = pytest.mark.slow

TOLERANCE = 1e-4
"""Largest l2 distance of a gradient, as a share of its own l2 norm."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return draw_data(tmp_path_factory.mktemp("data"))


def command(data, out, devices, batch):
    module = "tests.training.deterministic_run"
    return [sys.executable, "-m", module, str(data), str(out), str(devices), str(batch)]


def environment(**variables):
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd(), **variables}


@pytest.fixture(scope="module")
def alone(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("alone") / "run"
    subprocess.run(command(data, out, 1, 4), check=True, env=environment(), timeout=300)
    return gradients(out)


def gradients(out):
    """A tenth of the clipped gradient of the first step, by number of the parameter."""
    (state,) = torch.load(RunFolder(out).last, weights_only=True)["optimizer_states"]
    return {number: values["exp_avg"] for number, values in state["state"].items()}


def assert_close(first, second):
    assert first.keys() == second.keys()
    for number, gradient in first.items():
        distance = float((gradient - second[number]).norm())
        assert distance <= TOLERANCE * float(gradient.norm()) + 1e-9, number


def test_two_processes_equal_one_with_the_same_global_batch(data, alone, tmp_path):
    out = tmp_path / "run"
    subprocess.run(command(data, out, 2, 2), check=True, env=environment(), timeout=300)
    assert_close(alone, gradients(out))


def test_slurm_variables_place_the_processes(data, alone, tmp_path):
    out = tmp_path / "run"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tasks = []
    for rank in (0, 1):
        slurm = {
            "SLURM_JOB_ID": "7",
            "SLURM_JOB_NAME": "pretrain",
            "SLURM_NTASKS": "2",
            "SLURM_NTASKS_PER_NODE": "2",
            "SLURM_NNODES": "1",
            "SLURM_PROCID": str(rank),
            "SLURM_LOCALID": str(rank),
            "SLURM_NODEID": "0",
            "SLURM_NODELIST": "localhost",
            "SLURM_JOB_NODELIST": "localhost",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        tasks.append(subprocess.Popen(command(data, out, 2, 2), env=environment(**slurm)))
    assert [task.wait(timeout=300) for task in tasks] == [0, 0]
    assert_close(alone, gradients(out))
