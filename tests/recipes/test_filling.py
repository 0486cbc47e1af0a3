"""Recipes and flags into settings."""

from pathlib import Path

import pytest

from geomtp.recipes.filling import (
    fill,
    fill_values,
    finetune_recipes,
    recipe_names,
    recipe_text,
    recipe_title,
)
from geomtp.study.settings import StudyStages
from geomtp.training.configs import PretrainMTP, SourceRun
from geomtp.training.mae_config import PretrainMAE


def filled(*words):
    return fill(PretrainMTP, words, "geomtp pretrain mtp")


MAE_RECIPES = [name for name in recipe_names() if name.startswith("mae")]
STUDY_RECIPES = [name for name in recipe_names() if name.startswith("study")]
MTP_RECIPES = sorted(set(recipe_names()) - {*MAE_RECIPES, *STUDY_RECIPES, *finetune_recipes()})


@pytest.mark.parametrize("name", MTP_RECIPES)
def test_every_recipe_fills_the_settings_and_has_a_title(name):
    config = filled("--config", name)
    assert config.sources
    assert len(recipe_title(name)) > 20
    assert (config.data, config.out) == (None, Path("runs/mtp"))  # no paths in recipes


@pytest.mark.parametrize("name", MAE_RECIPES)
def test_every_recipe_of_masked_autoencoding_fills_the_settings(name):
    with pytest.raises(ValueError, match="--data is needed"):  # no paths in recipes
        fill(PretrainMAE, ["--config", name], "geomtp pretrain mae")
    words = ["--config", name, "--data", "a", "b,c", "--resume", "--in-channels=4"]
    config = fill(PretrainMAE, words, "geomtp pretrain mae")
    assert config.data == (Path("a"), Path("b,c"))
    assert (config.out, config.in_channels, config.resume) == (Path("runs/mae"), 4, True)
    assert fill(PretrainMAE, ["--data=a", "b"], "x").data == (Path("a"), Path("b"))
    assert len(recipe_title(name)) > 20


@pytest.mark.parametrize("name", STUDY_RECIPES)
def test_every_recipe_of_a_study_fills_the_settings(name):
    study = fill(StudyStages, ["--config", name], "geomtp study stages")
    assert study.chosen_ladders()
    assert (study.data, study.out) == (None, Path("runs/study"))  # no paths in recipes
    assert len(recipe_title(name)) > 20


def test_values_fill_settings_as_a_recipe_does():
    values = {"steps": 3, "sources": {"town": None, "a": {"tasks": ["rotated"]}}}
    config = fill_values(PretrainMTP, values, "demo", "stage 'mtp'")
    assert config.sources == {"town": SourceRun(), "a": SourceRun(tasks=("rotated",))}
    assert (config.steps, config.batch_size) == (3, 3)
    assert config.encoder == "tf_efficientnet_lite0"  # of the recipe
    for wrong, message in (
        ({"stpes": 3}, "stage 'mtp': unknown field 'stpes'; did you mean 'steps'?"),
        ({"steps": "three"}, "stage 'mtp': Parser key \"steps\""),
        ({"steps": 0}, "stage 'mtp': steps must be at least 1, found 0"),
    ):
        with pytest.raises(ValueError) as error:
            fill_values(PretrainMTP, {**values, **wrong}, None, "stage 'mtp'")
        assert message in str(error.value)


def test_mae_has_the_settings_of_the_paper():
    config = fill(PretrainMAE, ["--config", "mae", "--data", "a"], "geomtp pretrain mae")
    assert (config.image_size, config.mask_ratio, config.norm_pixels) == (224, 0.75, True)
    assert (config.decoder_width, config.decoder_depth, config.decoder_heads) == (512, 8, 16)
    assert (config.epochs, config.warmup_epochs, config.base_learning_rate) == (1600, 40, 1.5e-4)
    assert (config.weight_decay, config.clip_norm, config.crop_area) == (0.05, None, (0.2, 1.0))


def test_samrs_has_every_setting_of_the_reference_as_its_code_ran():
    config = filled("--config", "samrs")
    assert list(config.sources) == ["sota", "sior", "fast"]
    assert (config.learning_rate, config.weight_decay, config.layer_decay) == (6e-5, 0.05, None)
    assert (config.steps, config.warmup_steps, config.clip_norm) == (80_000, 0, 5.0)
    assert (config.encoder, config.drop_path, config.batch_size) == ("vit_b_rvsa", 0.1, 3)
    assert (config.resize_range, config.resize_relative_to) == ((0.5, 2.0), "crop")
    assert (config.semantic_channels, config.detector_channels, config.fc_channels) == (
        256,
        256,
        1024,
    )
    assert (config.precision, config.seed, config.mixing, config.loss_weights) == (
        "32",
        2023,
        "avg",
        {},
    )
    assert config.reference_box_targets
    assert config.reference_label_padding
    assert config.reference_statistics
    assert config.reference_initialisation
    assert config.reference_photometric
    assert config.reference_filtering
    assert "# layer_decay: 0.9" in recipe_text("samrs")


def test_flags_override_the_recipe():
    config = filled(
        "--config", "demo", "--steps", "7", "--tasks", "semantic,rotated", "--data", "somewhere",
        "--batch-size=4", "--learning_rate", "1e-3", "--resume", "--mixing", "ratio",
        "--loss_weights", "{semantic: 0.5}",
    )  # fmt: skip
    assert config.steps == 7
    assert config.tasks == ("semantic", "rotated")
    assert config.data == Path("somewhere")
    assert (config.batch_size, config.learning_rate, config.resume) == (4, 1e-3, True)
    assert config.mixing == "ratio"
    assert config.loss_weights == {"semantic": 0.5}
    assert config.image_size == 256  # from the recipe


def test_numbers_of_flags_may_be_separated_by_commas():
    words = ["--mean", "1,2.5,3", "--std=4,5,6", "--resize-range", "0.5,1"]
    config = filled("--config", "demo", *words)
    assert (config.mean, config.std) == ((1.0, 2.5, 3.0), (4.0, 5.0, 6.0))
    assert config.resize_range == (0.5, 1.0)
    assert filled("--config", "demo", "--mean", "null", "--std", "[4,5,6]").mean is None


def test_sources_of_flags_replace_those_of_the_recipe():
    config = filled("--config", "demo", "--sources", "mine,embedded_town")
    assert config.sources == {"mine": SourceRun(), "embedded_town": SourceRun()}


def test_sources_have_tasks_and_weights(tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("sources:\n  a: {tasks: [rotated], weight: 2}\n  b:\nmixing: weights\n")
    config = filled("--config", str(recipe))
    assert config.sources == {"a": SourceRun(("rotated",), 2.0), "b": SourceRun()}
    assert config.tasks_of("a") == ("rotated",)
    assert config.tasks_of("b") == ("semantic", "instance", "rotated")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "sources: {a: }\nlearning_rat: 1",
            "unknown field 'learning_rat'; did you mean 'learning_rate'",
        ),
        ("sources: {a: }\nsteps: many", "steps.*int.*many"),
        (
            "sources: {a: {wieght: 2}}",
            "sources: unknown field 'wieght'; did you mean 'weight'",
        ),
        ("sources: {}", "sources: at least one is needed"),
        ("sources: {a: }\nsteps: 0", "steps must be at least 1, found 0"),
        ("sources: {a: }\nmixing: some", "mixing.*some"),
        ("sources: {a: }\nresume: maybe", "resume.*bool.*maybe"),
        ("sources: {a: }\nloss_weights: {boxes: 1}", "boxes is none"),
        ("sources: [a", "not valid YAML"),
        ("just words", "must map fields to values"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, text, message):
    recipe = tmp_path / "wrong.yaml"
    recipe.write_text(text)
    with pytest.raises(ValueError, match=rf"(?s){message}") as error:
        filled("--config", str(recipe))
    assert "\n" not in str(error.value)


def test_an_unknown_flag_names_the_nearest():
    with pytest.raises(ValueError, match="--stepz=3; did you mean 'steps'"):
        filled("--config", "demo", "--stepz", "3")


def test_an_unknown_recipe_lists_the_known():
    with pytest.raises(
        FileNotFoundError, match=r"no recipe 'nonsense'.*demo, .*real_small.*, samrs"
    ):
        filled("--config", "nonsense")
