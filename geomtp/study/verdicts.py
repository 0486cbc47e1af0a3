"""What the numbers of a study say of a claim, by one rule that is fixed beforehand.

Two rungs are compared seed by seed: what is random in fine-tuning (the share of the labels, new
layers, order, views) is the same for both. For each seed the difference of the figures is averaged
over the transfers and fractions that the claim is about, so that there is one difference per seed
and one test per claim and ladder, however many runs there are. With the mean difference d, its
standard error e = s / √n and t the two-sided 95 % quantile of Student's distribution with n − 1
degrees of freedom, the difference is taken for positive if d − t·e > 0, for negative if
d + t·e < 0, and for undecided otherwise, with one seed always.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from geomtp.study.settings import StudyStages
from geomtp.study.table import Place, Row, values_by_seed

_T_95 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
"""Two-sided 95 % quantiles of Student's t with 1…30 degrees of freedom."""

Answer = Literal["supports", "contradicts", "cannot decide"]


WORDS: dict[Answer, str] = {
    "supports": "support it",
    "contradicts": "contradict it",
    "cannot decide": "cannot decide",
}
"""What numbers do to a claim, in words."""


@dataclass(frozen=True)
class Difference:
    """The mean of differences over seeds, and its standard error (NaN for less than two)."""

    mean: float
    error: float
    count: int

    @staticmethod
    def of(values: Iterable[float]) -> Difference:
        """Of one difference per seed."""
        known = list(values)
        if not known:
            return Difference(math.nan, math.nan, 0)
        error = statistics.stdev(known) / math.sqrt(len(known)) if len(known) > 1 else math.nan
        return Difference(statistics.fmean(known), error, len(known))

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval; without bounds for less than two seeds."""
        if self.count < 2:
            return -math.inf, math.inf
        degrees = self.count - 1
        half = _T_95[min(degrees, len(_T_95)) - 1] * self.error
        return self.mean - half, self.mean + half

    def __str__(self) -> str:
        if not self.count:
            return "–"
        error = "" if math.isnan(self.error) else f" ± {self.error:.3f}"
        return f"{self.mean:+.3f}{error} (n = {self.count})"


@dataclass(frozen=True)
class Claim:
    """That ``rung`` scores higher (sign 1) or lower (−1) than ``base``.

    On the mean of all transfers of a ladder and of ``fractions`` of their labels.
    """

    text: str
    ladder: str
    rung: str
    base: str
    sign: Literal[1, -1]
    fractions: tuple[float, ...]


@dataclass(frozen=True)
class Verdict:
    """What the numbers say of a claim.

    - difference: of the means over transfers and fractions, over the seeds that have all of them
    - parts: the differences by (transfer, fraction); for reading, not for deciding
    """

    claim: Claim
    difference: Difference
    answer: Answer
    parts: dict[tuple[str, float], Difference]


def claims_of(study: StudyStages) -> list[Claim]:
    """The claims that the rungs of each ladder can test.

    A ladder tests them with a rung S of some stages and then multi-task pretraining, a rung B of
    those first stages alone (the base model) and, for the first claim, a rung of the multi-task
    pretraining alone.
    """
    found = []
    for ladder, rungs in study.chosen_ladders().items():
        by_stages = {stages: rung for rung, stages in rungs.items()}
        for rung, stages in rungs.items():
            base = by_stages.get(stages[:-1])
            if len(stages) < 2 or base is None or study.stages[stages[-1]].kind != "mtp":
                continue
            alone = by_stages.get(stages[-1:])
            every = study.fractions
            if alone is not None:
                text = f"{alone} without the first stage falls below the base model, {base}"
                found.append(Claim(text, ladder, alone, base, -1, every))
            most = max(every)
            text = (
                f"the gain of {rung} over {base} turns negative with large fine-tuning sets "
                f"(here {most:g} of the labels)"
            )
            found.append(Claim(text, ladder, rung, base, -1, (most,)))
            text = f"staged pretraining pays: {rung} scores above {base}"
            found.append(Claim(text, ladder, rung, base, 1, every))
            plain = by_stages.get((*stages[:-1], study.stages[stages[-1]].like or ""))
            if plain is not None:
                text = f"{stages[-1]} is better than {study.stages[stages[-1]].like}"
                found.append(Claim(text, ladder, rung, plain, 1, every))
    return found


def verdict_of(claim: Claim, rows: Sequence[Row]) -> Verdict:
    """What ``rows`` say of ``claim``."""
    values = values_by_seed(rows)
    transfers = list(
        dict.fromkeys(
            row.transfer for row in rows if row.ladder == claim.ladder and row.transfer is not None
        )
    )
    places = [(transfer, fraction) for transfer in transfers for fraction in claim.fractions]
    parts = {
        place: differences(
            values, (claim.ladder, claim.rung, *place), (claim.ladder, claim.base, *place)
        )
        for place in places
    }
    seeds = set.intersection(*(set(part) for part in parts.values())) if parts else set()
    whole = Difference.of(
        statistics.fmean(part[seed] for part in parts.values()) for seed in sorted(seeds)
    )
    return Verdict(
        claim,
        whole,
        _answer(whole, claim.sign),
        {place: Difference.of(part.values()) for place, part in parts.items()},
    )


def verdict_lines(verdicts: Sequence[Verdict]) -> list[str]:
    """One line per verdict, for a terminal."""
    return [
        f"{v.claim.ladder}: {v.claim.text}: these numbers {WORDS[v.answer]} ({v.difference})"
        for v in verdicts
    ]


def differences(
    values: Mapping[Place, Mapping[int, float]], place: Place, base: Place
) -> dict[int, float]:
    """The figure at ``place`` less that at ``base``, for each seed that has both."""
    first, second = values.get(place, {}), values.get(base, {})
    return {seed: first[seed] - second[seed] for seed in first if seed in second}


def _answer(difference: Difference, sign: int) -> Answer:
    low, high = difference.interval
    if low > 0:
        return "supports" if sign > 0 else "contradicts"
    if high < 0:
        return "contradicts" if sign > 0 else "supports"
    return "cannot decide"
