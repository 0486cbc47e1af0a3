"""Agreement of gradients, against numbers made by hand and gradients taken one by one."""

import dataclasses
import json
import math

import pytest
import torch

from geomtp.data.mixing import StepSampler, train_loader
from geomtp.labels import LabelStore
from geomtp.model import MultiTaskModel, build_model
from geomtp.training.conflicts import CONFLICTS_NAME, Conflicts, measure_conflicts
from geomtp.training.mtp import _model_config, datasets, pretrain_mtp
from tests.training.runs import draw_data, small_config
from tests.training.test_mtp import rows_of, silent


class Lines(MultiTaskModel):
    """Each loss is the scalar product of the encoder's two numbers with a vector."""

    def __init__(self, vectors):
        super().__init__(torch.nn.Linear(2, 1, bias=False), {})
        self.vectors = vectors

    def loss(self, batches):
        number = next(iter(batches.values())).number
        weight = self.encoder.weight[0]
        return {n: weight @ torch.tensor(v[number]) for n, v in self.vectors.items()}


@dataclasses.dataclass
class Numbered:
    number: int

    def to(self, device):
        return self


VECTORS = {
    "semantic/pixel/a": [[1.0, 0.0], [1.0, 0.0]],
    "semantic/pixel/b": [[0.0, 1.0], [0.0, 1.0]],
    "rotated/box/a": [[1.0, 0.0], [-1.0, 0.0]],
    "rotated/class/a": [[0.0, 0.0], [0.0, 2.0]],
}


def measured(**options):
    steps = [{"a": Numbered(0), "b": Numbered(0)}, {"a": Numbered(1), "b": Numbered(1)}]
    return measure_conflicts(Lines(VECTORS), steps, **options)


def test_cosines_by_hand():
    found = measured()
    # step 0: semantic (1, 1), rotated (1, 0); step 1: semantic (1, 1), rotated (−1, 2)
    expected = (1 / math.sqrt(2) + 1 / (math.sqrt(2) * math.sqrt(5))) / 2
    assert found.tasks.names == ("semantic", "rotated")
    assert found.tasks.pairs() == {"semantic+rotated": pytest.approx(expected)}
    assert found.tasks.cosines[0][0] == pytest.approx(1)
    assert found.tasks.opposed == ((0, 0), (0, 0))
    # sources: a (2, 0) then (0, 2); b (0, 1) both times
    assert found.sources.names == ("a", "b")
    assert found.sources.pairs() == {"a+b": pytest.approx((0 + 1) / 2)}
    assert found.norms == pytest.approx(
        {"semantic/a": 1, "semantic/b": 1, "rotated/a": (1 + math.sqrt(5)) / 2}
    )
    assert found.steps == 2


def test_weights_and_factors_count():
    # rotated boxes turned round: step 0 (−1, 0), step 1 (1, 2)
    found = measured(weights={"rotated/box": -1.0}, factors={"rotated/a": 3.0})
    cosines = (-1 / math.sqrt(2), 3 / math.sqrt(10))
    assert found.tasks.pairs()["semantic+rotated"] == pytest.approx(sum(cosines) / 2)
    assert found.tasks.opposed[0][1] == 0.5
    assert found.norms["rotated/a"] == pytest.approx(3 * (1 + math.sqrt(5)) / 2)


def test_a_task_without_gradient_has_no_cosine_in_that_step():
    vectors = {
        "semantic/pixel/a": [[1.0, 0.0], [1.0, 0.0]],
        "rotated/box/a": [[0.0, 0.0], [1.0, 0.0]],
    }
    steps = [{"a": Numbered(0)}, {"a": Numbered(1)}]
    found = measure_conflicts(Lines(vectors), steps)
    assert found.tasks.pairs() == {"semantic+rotated": pytest.approx(1)}
    first = measure_conflicts(Lines(vectors), steps[:1])
    assert math.isnan(first.tasks.pairs()["semantic+rotated"])


def test_nothing_to_compare_is_said():
    with pytest.raises(ValueError, match="at least one step is needed"):
        measure_conflicts(Lines(VECTORS), [])
    with pytest.raises(ValueError, match="no parameter of the encoder is trained"):
        measure_conflicts(Lines(VECTORS).requires_grad_(False), [{"a": Numbered(0)}])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return draw_data(tmp_path_factory.mktemp("data"))


def test_a_real_model_against_gradients_taken_one_by_one(data, tmp_path):
    config = small_config(data, tmp_path)
    stores = {name: LabelStore.open(data / name) for name in config.sources}
    torch.manual_seed(0)
    model = build_model(_model_config(config, stores)).train()
    parts = datasets(config, stores, "train", training=True)
    sampler = StepSampler({n: len(d) for n, d in parts.items()}, {"town": 1, "harbour": 1}, 1)
    steps = list(train_loader(parts, sampler, size_px=64, workers=0))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.get_rng_state()
    found = measure_conflicts(model, steps, seed=5)
    assert torch.get_rng_state().equal(state)
    for key, value in model.state_dict().items():
        assert value.equal(before[key]), key
    assert all(p.grad is None for p in model.parameters())

    parameters = list(model.encoder.parameters())
    gradients = {}
    for name in found.norms:
        torch.manual_seed(hash((5, 0)) % 2**63)
        task, source = name.split("/")
        losses = model.loss(steps[0])
        total = sum(v for n, v in losses.items() if n.startswith(task) and n.endswith(source))
        taken = torch.autograd.grad(total, parameters, allow_unused=True)
        pairs = zip(taken, parameters, strict=True)
        gradients[name] = torch.cat([(p * 0 if g is None else g).flatten() for g, p in pairs])
        assert found.norms[name] == pytest.approx(float(gradients[name].norm()), rel=1e-4)
        assert found.losses[name] == pytest.approx(float(total.detach()), rel=1e-5)
    assert set(gradients) == {
        "semantic/town", "instance/town", "rotated/town", "semantic/harbour", "rotated/harbour",
    }  # fmt: skip
    town = sum(g for n, g in gradients.items() if n.endswith("town"))
    harbour = sum(g for n, g in gradients.items() if n.endswith("harbour"))
    cosine = float(torch.nn.functional.cosine_similarity(town, harbour, dim=0))
    assert found.sources.pairs()["town+harbour"] == pytest.approx(cosine, abs=1e-4)


def test_a_run_writes_its_measurements(data, tmp_path):
    config = small_config(data, tmp_path / "run", conflicts_every=2, conflict_batches=2, steps=3)
    folder = pretrain_mtp(config, silent).folder
    written = json.loads((folder.path / CONFLICTS_NAME).read_text())
    assert [entry.pop("step") for entry in written] == [0, 2, 3]
    last = Conflicts.from_json(written[-1])
    assert last.tasks.names == ("semantic", "instance", "rotated")
    assert last.sources.names == ("town", "harbour")
    assert last.steps == 2
    assert -1 <= last.sources.pairs()["town+harbour"] <= 1
    logged = {(step, name): value for step, name, value in rows_of(folder)}
    pair = ("conflict/town+harbour", last.sources.pairs()["town+harbour"])
    assert logged[3, pair[0]] == pytest.approx(pair[1], rel=1e-4)
