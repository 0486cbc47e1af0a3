"""What numbers say of a claim, by hand."""

import math

import pytest

from geomtp.study.settings import Ladder, Stage, StudyStages, Transfer
from geomtp.study.verdicts import Difference, claims_of, verdict_lines, verdict_of
from tests.study.test_table import row


def test_differences_by_hand():
    found = Difference.of([0.1, 0.2, 0.3])
    assert (found.mean, found.count) == (pytest.approx(0.2), 3)
    assert found.error == pytest.approx(0.1 / math.sqrt(3))
    low, high = found.interval  # 4.303 standard errors to both sides
    assert (low, high) == (pytest.approx(0.2 - 0.24844, abs=1e-4), pytest.approx(0.44844, abs=1e-4))
    assert str(found) == "+0.200 ± 0.058 (n = 3)"
    assert Difference.of([0.1]).interval == (-math.inf, math.inf)
    assert str(Difference.of([])) == "–"
    many = Difference.of([0.0, 1.0] * 50)
    assert many.interval[1] == pytest.approx(0.5 + 2.042 * math.sqrt(25 / 99) / 10)


def study(**changes):
    rungs = {"nothing": (), "first": ("mae",), "alone": ("mtp",), "both": ("mae", "mtp")}
    settings = {
        "ladders": {"vit": Ladder("vit_t_rvsa", rungs)},
        "stages": {
            "mae": Stage("mae"), "mtp": Stage("mtp"), "weighed": Stage("mtp", like="mtp"),
            "imagenet": Stage("weights"),
        },
        "transfers": {"chips": Transfer("scene"), "town": Transfer("semantic")},
        "fractions": (0.1, 1.0),
    }  # fmt: skip
    return StudyStages(**{**settings, **changes})


def test_the_rungs_say_which_claims_can_be_tested():
    alone, large, pays = claims_of(study())
    assert (alone.rung, alone.base, alone.sign, alone.fractions) == ("alone", "first", -1, (0.1, 1))
    assert (large.rung, large.base, large.sign, large.fractions) == ("both", "first", -1, (1.0,))
    assert (pays.rung, pays.base, pays.sign, pays.fractions) == ("both", "first", 1, (0.1, 1.0))
    assert claims_of(study(use_rungs=("nothing", "alone"))) == []
    assert [c.rung for c in claims_of(study(use_rungs=("first", "both")))] == ["both", "both"]
    rungs = {"a": ("imagenet",), "b": ("imagenet", "mtp"), "c": ("imagenet", "weighed")}
    last = claims_of(study(ladders={"cnn": Ladder("resnet10t", rungs)}))[-1]
    assert (last.rung, last.base, last.text) == ("c", "b", "weighed is better than mtp")


def rows_with(differences, fractions=(0.1, 1.0), transfers=("chips", "town")):
    """``differences[seed][place]`` of rung "both" to "first"; fractions within transfers."""
    places = [(t, f) for t in transfers for f in fractions]
    rows = []
    for seed, values in differences.items():
        for (transfer, fraction), value in zip(places, values, strict=True):
            where = {"ladder": "vit", "transfer": transfer, "fraction": fraction}
            rows.append(row("first", seed, 0.5, **where))
            if value is not None:
                rows.append(row("both", seed, 0.5 + value, **where))
    return rows


def verdict(differences, number):
    return verdict_of(claims_of(study())[number], rows_with(differences))


def test_one_difference_per_seed_decides():
    gains = {1: (0.1, 0.2, 0.3, 0.0), 2: (0.2, 0.2, 0.2, 0.2), 3: (0.3, 0.1, 0.0, 0.4)}
    found = verdict(gains, 2)
    assert found.difference.count == 3
    assert found.difference.mean == pytest.approx((0.15 + 0.2 + 0.2) / 3)
    assert found.answer == "supports"
    assert found.parts["chips", 0.1].mean == pytest.approx(0.2)
    assert found.parts["town", 1.0].mean == pytest.approx(0.2)
    assert "support it" in verdict_lines([found])[0]


def test_large_sets_are_judged_by_the_largest_fraction_alone():
    gains = {
        1: (0.5, -0.10, 0.5, -0.12), 2: (0.5, -0.11, 0.5, -0.11), 3: (0.5, -0.10, 0.5, -0.10),
    }  # fmt: skip
    found = verdict(gains, 1)
    assert found.difference.mean == pytest.approx(-0.32 / 3)
    assert found.answer == "supports"
    assert verdict(gains, 2).answer == "supports"
    turned = {seed: tuple(-value for value in values) for seed, values in gains.items()}
    assert verdict(turned, 1).answer == "contradicts"
    assert verdict(turned, 2).answer == "contradicts"


def test_numbers_that_scatter_or_are_too_few_cannot_decide():
    scattered = {1: (0.5,) * 4, 2: (-0.3,) * 4, 3: (0.1,) * 4}
    assert verdict(scattered, 2).answer == "cannot decide"
    assert verdict({1: (0.5,) * 4}, 2).answer == "cannot decide"
    assert verdict({}, 2).answer == "cannot decide"


def test_a_seed_that_lacks_a_run_is_left_out():
    gains = {1: (0.1,) * 4, 2: (0.1, 0.1, None, 0.1), 3: (0.1,) * 4}
    found = verdict(gains, 2)
    assert found.difference.count == 2
    assert found.parts["chips", 0.1].count == 3
    assert found.parts["town", 0.1].count == 2
