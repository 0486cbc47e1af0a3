"""From settings to runs, and mistakes that are found before the first of them."""

import dataclasses
from pathlib import Path

import pytest

from geomtp.data.folders import FolderStore
from geomtp.recipes.filling import fill
from geomtp.study.plan import StageRun, plan_study
from geomtp.study.settings import Ladder, Stage, StudyStages, Transfer
from geomtp.study.stores import DataSet, StudyData
from geomtp.training.mae_config import PretrainMAE
from tests.study.small import TINY, small_study

NOWHERE = StudyData(None, Path("stores"))
MAE = Stage("mae", {"data": ["images", "embedded_town"], "epochs": 1, "warmup_epochs": 0})


def planned(**changes):
    return plan_study(small_study(Path("data"), Path("out"), **changes), NOWHERE)


def two_ladders():
    return {
        "vit": Ladder(
            "vit_t_rvsa",
            {"mae": ("mae",), "both": ("mae", "mtp")},
            every_run={"learning_rate": 0.5},
            runs={"chips": {"batch_size": 7}, "mtp": {"steps": 9}},
        ),
        "cnn": Ladder("resnet10t", {"nothing": ()}),
    }


STAGES = {"mae": MAE, "mtp": Stage("mtp", {"sources": {"town": None}})}


def test_runs_are_ordered_by_seed_and_stages_come_before_what_needs_them():
    plan = planned(ladders=two_ladders(), stages=STAGES, fractions=(0.5, 1.0))
    titles = [run.title for run in plan.runs]
    assert titles[:8] == [
        "vit: mae, pretraining seed 1",
        "vit: mae, chips with 0.5 of the labels, seed 1",
        "vit: mae, chips with 1 of the labels, seed 1",
        "vit: mae then mtp, pretraining seed 1",
        "vit: both, chips with 0.5 of the labels, seed 1",
        "vit: both, chips with 1 of the labels, seed 1",
        "cnn: nothing, chips with 0.5 of the labels, seed 1",
        "cnn: nothing, chips with 1 of the labels, seed 1",
    ]
    assert titles[8:] == [
        title.replace(", seed 1", ", seed 2") for title in titles[:8] if "chips" in title
    ]
    assert [run.stage for run in plan.stages] == ["mae", "mtp"]
    assert plan.stages[1].before.name == plan.stages[0].name


def test_the_most_special_setting_counts():
    plan = planned(ladders=two_ladders(), stages=STAGES)
    mae, mtp = plan.stages
    assert isinstance(mae.config, PretrainMAE)
    assert (mae.config.encoder, mae.config.steps, mae.config.image_size) == ("vit_t_rvsa", 1, 64)
    assert (mtp.config.steps, mtp.config.learning_rate, mtp.config.batch_size) == (9, 0.5, 2)
    by_ladder = {run.ladder: run.config for run in plan.transfers}
    assert (by_ladder["vit"].batch_size, by_ladder["vit"].learning_rate) == (7, 0.5)
    assert (by_ladder["cnn"].batch_size, by_ladder["cnn"].learning_rate) == (2, 1e-4)
    assert {config.image_size for config in by_ladder.values()} == {32}
    assert {(c.encoder, c.task) for c in by_ladder.values()} == {
        ("vit_t_rvsa", "scene"), ("resnet10t", "scene"),
    }  # fmt: skip


def test_seeds_and_fractions_reach_the_runs():
    plan = planned(seeds=(3, 4, 5), pretraining_seeds=(8, 9), fractions=(0.25,))
    mtp = [run for run in plan.transfers if run.rung == "mtp"]
    assert [(r.config.seed, r.config.train_fraction) for r in mtp] == [
        (3, 0.25), (4, 0.25), (5, 0.25),
    ]  # fmt: skip
    assert [run.before.seed for run in mtp] == [8, 9, 8]
    assert [run.config.seed for run in plan.stages] == [8, 9]
    alone = planned(seeds=(4,), pretraining_seeds=(8, 9), fractions=(0.25,))
    assert alone.stages[0].seed == 9  # whichever other seeds are named


def test_a_stage_may_change_another_and_a_recipe():
    stages = {
        "mtp": Stage("mtp", {"steps": 5}, recipe="demo"),
        "weighed": Stage("mtp", {"balance": "uncertainty"}, like="mtp"),
    }
    ladders = {"cnn": Ladder("resnet10t", {"a": ("mtp",), "b": ("weighed",)})}
    first, second = planned(stages=stages, ladders=ladders).stages
    assert (first.config.balance, second.config.balance) == ("sum", "uncertainty")
    assert first.config.steps == second.config.steps == 5
    assert list(second.config.sources) == [
        "embedded_harbour", "embedded_airfield", "embedded_town",
    ]  # fmt: skip
    assert second.config.resize_relative_to == "image"


def test_the_data_that_is_needed():
    plan = planned(
        ladders=two_ladders(),
        stages=STAGES,
        transfers={
            "chips": Transfer("scene", settings={"image_size": 32}),
            "own": Transfer("change", data="cities"),
            "eurosat_tiles": Transfer("scene"),
            "tiles": Transfer("scene", data="other", source="eurosat_tiles"),
        },
    )
    assert set(plan.data) == {
        DataSet("chips", None, "scene"),
        DataSet("cities", None, "change"),
        DataSet("eurosat_tiles", "eurosat_tiles"),
        DataSet("other", "eurosat_tiles"),
        DataSet("embedded_town"),
        DataSet("town"),
    }


def test_what_is_said_of_folders_and_images_reaches_the_data():
    """Of folders: how to read them; of masked autoencoding: held-out images below --data, too."""
    mae = Stage("mae", {**MAE.settings, "validation_data": ["other", "embedded_harbour"]})
    settings = {"val_share": 0.5, "classes": ["a", "b"], "in_channels": 4, "strict": True}
    study = small_study(
        Path("data"),
        Path("out"),
        ladders={"vit": Ladder("vit_t_rvsa", {"mae": ("mae",)})},
        stages={"mae": mae},
        transfers={
            "own": Transfer("semantic", settings=settings),
            "boxes": Transfer("horizontal"),
        },
    )
    plan = plan_study(study, StudyData(Path("data"), Path("stores")))
    assert plan.stages[0].held_out == ("other", "embedded_harbour")
    reading = FolderStore("semantic", ("a", "b"), 0.5, 4, strict=True)
    assert plan.transfers[0].data == DataSet("own", None, "semantic", reading)
    assert plan.transfers[1].data == DataSet("boxes", None, "horizontal")
    assert [run.figure for run in plan.transfers[:2]] == ["semantic/miou", "box/ap50"]
    assert {DataSet("embedded_town"), DataSet("embedded_harbour")} < set(plan.data)


def test_weights_from_elsewhere_are_no_run(tmp_path):
    (tmp_path / "w.safetensors").touch()
    stages = {"given": Stage("weights", file="w.safetensors"), "mtp": STAGES["mtp"]}
    ladders = {"cnn": Ladder("resnet10t", {"given": ("given",), "both": ("given", "mtp")})}
    study = small_study(tmp_path, tmp_path / "out", stages=stages, ladders=ladders)
    plan = plan_study(study, StudyData(tmp_path, tmp_path))
    assert [run.stage for run in plan.stages] == ["mtp"]
    given = plan.stages[0].before
    assert isinstance(given, StageRun)
    assert (given.config, given.file) == (None, str(tmp_path / "w.safetensors"))
    with pytest.raises(FileNotFoundError, match=r"weights 'w\.safetensors': there is no"):
        plan_study(study, StudyData(tmp_path / "elsewhere", tmp_path))


MTP_ONLY = {"cnn": Ladder("resnet10t", {"mtp": ("mtp",)})}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages": {"mtp": Stage("mtp", {"stpes": 3, "sources": {"town": {}}})}},
         "stage 'mtp' of ladder 'cnn': unknown field 'stpes'; did you mean 'steps'?"),
        ({"stages": {"mtp": Stage("mtp", {"sources": {}})}}, "sources: at least one is needed"),
        ({"stages": {"mtp": Stage("mtp", {"seed": 1, "sources": {"town": {}}})}},
         "seed is set by the study itself"),
        ({"transfers": {"chips": Transfer("scene", settings={"steps": 0})}},
         "transfer 'chips' of ladder 'cnn': steps must be at least 1, found 0"),
        ({"every_run": {**TINY, "devices": 2}}, "each run of a study uses one device"),
        ({"every_run": {**TINY, "batch": 3}}, "every_run: no run has a field 'batch'"),
        ({"use_rungs": ("nothin",)}, "unknown rung 'nothin'; did you mean 'nothing'?"),
        ({"use_transfers": ("x",)}, "unknown transfer 'x'; known: chips"),
        ({"fractions": (0.5, 2.0)}, "fractions lie above 0 and up to 1, found 2.0"),
        ({"seeds": (1, 1)}, "seeds: at least one, each once, found"),
        ({"ladders": {"cnn": Ladder("resnet10t", {"a": ("mpt",)})}},
         "unknown stage 'mpt'; did you mean 'mtp'?"),
        ({"ladders": {"c/n": Ladder("resnet10t", {"a": ()})}}, "digits and _, found 'c/n'"),
        ({"ladders": MTP_ONLY, "stages": {"mtp": Stage("mtp", like="mtp")}}, "in a circle"),
        ({"stages": {"mtp": Stage("weights", {"steps": 3})}}, "say their file alone"),
        ({"stages": {"mtp": Stage("mtp", like="mae"), "mae": MAE}}, "cannot be like 'mae', which"),
        ({"ladders": {"cnn": Ladder("resnet10t", {"a": ("mtp", "given")})},
          "stages": {**STAGES, "given": Stage("weights")}}, "(given) take the place of all stages"),
        ({"seeds": (-1,)}, "seed must be at least 0, found -1"),
        ({"transfers": {}}, "at least one ladder with a rung, and one transfer"),
    ],
)  # fmt: skip
def test_mistakes_in_one_sentence(changes, message):
    with pytest.raises(ValueError, match=r".") as error:
        planned(**changes)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_flags_choose_parts_of_a_recipe():
    words = ["--config", "study_full", "--use-ladders", "cnn", "--use-rungs", "nothing,imagenet",
             "--use-transfers=eurosat_tiles", "--seeds", "4,5", "--fractions", "0.2,1"]  # fmt: skip
    study = fill(StudyStages, words, "x")
    assert study.chosen_ladders() == {"cnn": {"nothing": (), "imagenet": ("imagenet",)}}
    assert study.chosen_transfers() == ["eurosat_tiles"]
    assert (study.seeds, study.fractions) == ((4, 5), (0.2, 1.0))


@pytest.mark.parametrize(("recipe", "runs"), [("study_small", 72), ("study_full", 240)])
def test_the_recipes_can_be_planned(recipe, runs):
    study = dataclasses.replace(fill(StudyStages, ["--config", recipe], "x"), data=Path("data"))
    plan = plan_study(study, StudyData(study.data, Path("out")))
    assert len(plan.transfers) == runs
    # equal budgets: within a ladder and transfer all rungs are fine-tuned in the same way
    settings = {}
    for run in plan.transfers:
        same = dataclasses.replace(run.config, seed=0, train_fraction=1)
        settings.setdefault((run.ladder, run.transfer), []).append(same)
    assert all(config == own[0] for own in settings.values() for config in own)
