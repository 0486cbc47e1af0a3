import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from geomtp.parallel import (
    gather_objects,
    gather_to_first,
    is_first,
    launched_as,
    mean_over_processes,
    meeting_place,
    of_first,
    processes_of_launcher,
    rank,
    share_of_rank,
    world_size,
)
from tests.processes import results_of_processes

INPUTS = torch.arange(12.0).reshape(6, 2) / 10
COUNTED = torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0, 1.0])  # by halves: 1 of 3 and 3 of 3


def loss_sum(output: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    return ((output[:, 0] - 1) ** 2 * counted).sum()


def linear() -> nn.Linear:
    layer = nn.Linear(2, 1)
    nn.init.constant_(layer.weight, 0.3)
    nn.init.constant_(layer.bias, -0.2)
    return layer


def fail() -> None:
    raise ValueError(f"process {rank()} failed")


def error_of_first() -> str:
    try:
        of_first(fail)
    except ValueError as error:
        return str(error)
    return "none"


def what_two_processes_see() -> dict:
    half = slice(3 * rank(), 3 * rank() + 3)
    model = DistributedDataParallel(linear())
    count = COUNTED[half].sum()
    mean = mean_over_processes(count)
    (loss_sum(model(INPUTS[half]), COUNTED[half]) / mean.clamp(min=1)).backward()
    return {
        "rank": rank(),
        "world": world_size(),
        "first": is_first(),
        "mean": mean.item(),
        "count_after": count.item(),
        "mean_of_integers": mean_over_processes(torch.tensor([rank(), 4])),
        "gathered": gather_objects(["only"] if rank() == 0 else [{"a": 1}, None, 3.5]),
        "gathered_empty": gather_objects([] if rank() == 0 else [7]),
        "gathered_to_first": gather_to_first(["only"] if rank() == 0 else [{"a": 1}, 3.5]),
        "of_first": of_first(lambda: f"rank {rank()}"),
        "error_of_first": error_of_first(),
        "share": list(share_of_rank(5)),
        "gradient": model.module.weight.grad,
    }


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    return results_of_processes(what_two_processes_see, tmp_path_factory.mktemp("processes"))


def test_ranks_of_two_processes(seen):
    assert [(s["rank"], s["world"], s["first"]) for s in seen] == [(0, 2, True), (1, 2, False)]


def test_the_first_process_works_for_all(seen):
    assert [s["of_first"] for s in seen] == ["rank 0"] * 2
    assert [s["error_of_first"] for s in seen] == ["process 0 failed"] * 2
    assert [s["gathered_to_first"] for s in seen] == [["only", {"a": 1}, 3.5], []]


def test_without_a_launcher_there_is_one_process(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    assert launched_as() == (0, 1)
    with processes_of_launcher():
        assert (rank(), world_size()) == (0, 1)
    assert of_first(lambda: 3) == 3
    assert gather_to_first([1, 2]) == [1, 2]
    monkeypatch.setenv("SLURM_PROCID", "3")
    monkeypatch.setenv("SLURM_NTASKS", "8")
    assert launched_as() == (3, 8)
    monkeypatch.setenv("SLURM_NTASKS", "3")
    with pytest.raises(ValueError, match="SLURM_PROCID=3 and SLURM_NTASKS=3 name no process"):
        launched_as()


def test_where_processes_meet(monkeypatch):
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "")  # so that what is set meanwhile is taken back
        monkeypatch.delenv(name)
    slurm = {"NTASKS": "4", "NTASKS_PER_NODE": "2", "JOB_NAME": "a", "JOB_ID": "870007"}
    for name, value in (slurm | {"NODELIST": "node[05-06]"}).items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert meeting_place() == ("node05", 15007)
    monkeypatch.setenv("MASTER_ADDR", "here")
    monkeypatch.setenv("MASTER_PORT", "29500")
    assert meeting_place() == ("here", 29500)


def test_gathering_keeps_rank_order_and_uneven_lengths(seen):
    for s in seen:
        assert s["gathered"] == ["only", {"a": 1}, None, 3.5]
        assert s["gathered_empty"] == [7]


def test_mean_is_the_same_everywhere_and_leaves_its_argument_alone(seen):
    assert [s["mean"] for s in seen] == [2.0, 2.0]
    assert [s["count_after"] for s in seen] == [1.0, 3.0]
    for s in seen:
        assert s["mean_of_integers"].tolist() == [0.5, 4.0]


def test_shares_of_two_processes(seen):
    assert [s["share"] for s in seen] == [[0, 2, 4], [1, 3]]


def test_uneven_counts_give_the_gradient_of_the_whole_batch(seen):
    model = linear()
    (loss_sum(model(INPUTS), COUNTED) / COUNTED.sum()).backward()
    for s in seen:
        torch.testing.assert_close(s["gradient"], model.weight.grad)


def test_alone():
    value = torch.tensor(3.0, requires_grad=True)
    mean = mean_over_processes(value)
    assert (rank(), world_size(), is_first()) == (0, 1, True)
    assert mean.item() == 3.0
    assert not mean.requires_grad
    assert gather_objects((1, 2)) == [1, 2]
    assert list(share_of_rank(3)) == [0, 1, 2]


@pytest.mark.parametrize("count, world", [(0, 3), (2, 3), (7, 3), (9, 3)])
def test_shares_hold_every_index_once(count, world):
    shares = [list(share_of_rank(count, rank=r, world=world)) for r in range(world)]
    assert sorted(i for share in shares for i in share) == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
