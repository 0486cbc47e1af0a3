"""The description of a graph: there and back, and what is none."""

import json

import pytest

from geomtp.inference.graphs.graph_facts import GraphFacts
from geomtp.types import ClassMap

CLASSES = ClassMap(("ship", "Ärger"), ((1, 2, 3), (4, 5, 6)))


def facts(**changes):
    values = {
        "encoder": "vit_t_rvsa",
        "image_size_hw": (64, 96),
        "any_size": False,
        "in_channels": 2,
        "normalises": True,
        "mean": (1.5, 2.0),
        "std": (3.0, 4.0),
        "source": "harbour",
        "tasks": ("semantic", "rotated"),
        "classes": CLASSES,
        "outputs": {"semantic_logits": "logits"},
    }
    return GraphFacts(**{**values, **changes})


@pytest.mark.parametrize(
    "changes",
    [{}, {"tasks": (), "classes": None, "source": None}, {"normalises": False, "mean": None}],
)
def test_facts_come_back_from_text(changes):
    made = facts(**changes)
    assert GraphFacts.from_json(made.to_json()) == made


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "7",
        "{}",
        "[" * 100_000,
        '{"format": 2}',
        facts().to_json().replace('"rotated"', '"harvest"'),
        facts().to_json().replace("[1.5, 2.0]", "[1.5]"),
        facts().to_json().replace("[64, 96]", "[64]"),
        facts().to_json().replace("[64, 96]", "[0, 96]"),
        facts().to_json().replace('"encoder"', '"__class__"'),
    ],
)
def test_other_text_is_refused_in_one_sentence(text):
    with pytest.raises(ValueError, match="description is not geomtp's"):
        GraphFacts.from_json(text)


def test_nothing_but_plain_values_is_written():
    values = json.loads(facts().to_json())
    assert values["classes"] == {"names": ["ship", "Ärger"], "palette": [[1, 2, 3], [4, 5, 6]]}
    assert values["image_size_hw"] == [64, 96]


def test_raw_tasks_are_those_of_detectors():
    assert facts().raw_tasks == ["rotated"]
    assert facts(tasks=("scene", "change")).raw_tasks == []


@pytest.mark.parametrize("size_hw", [(64, 96), (1, 1), (64, 95)])
def test_a_graph_of_one_size_has_images_padded_to_it(size_hw):
    assert facts().size_for(size_hw) == (64, 96)


@pytest.mark.parametrize("size_hw", [(65, 96), (64, 97)])
def test_larger_images_are_refused(size_hw):
    with pytest.raises(ValueError, match="96 × 64 px alone"):
        facts().size_for(size_hw)


@pytest.mark.parametrize(
    ("size_hw", "padded_hw"), [((1, 64), (64, 64)), ((65, 500), (96, 512)), ((96, 96), (96, 96))]
)
def test_other_graphs_have_them_padded_to_the_next_multiple(size_hw, padded_hw):
    assert facts(any_size=True).size_for(size_hw) == padded_hw
