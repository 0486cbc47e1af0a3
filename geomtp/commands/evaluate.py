"""``geomtp evaluate``, and the verbs about submissions."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence


def evaluate(words: Sequence[str]) -> int:
    """Scores of a model on labelled images, prediction maps, files for evaluation servers."""
    if any(word.partition("=")[0] == "--check-submission" for word in words):
        return evaluate_check(words)
    if words and words[0] == "fair1m-xml":
        return evaluate_fair1m_xml(words[1:])
    from geomtp.evaluation.evaluate_config import Evaluate
    from geomtp.recipes.filling import fill, parser_of

    program = "geomtp evaluate"
    if {"-h", "--help"} & set(words):
        parser_of(Evaluate, f"{program} CHECKPOINT").print_help()
        print("\nexample: geomtp evaluate runs/a/best.safetensors --data DATA --out evaluation")
        print("also: geomtp evaluate --check-submission FILE.zip [--submit KIND] [--images DIR]")
        print("      geomtp evaluate fair1m-xml TASK1 --images DIR --out FILE.zip")
        return 0
    named = list(words)
    if named and not named[0].startswith("--"):
        named[0] = f"--checkpoint={named[0]}"
    config = fill(Evaluate, named, program)
    from geomtp.evaluation.run import evaluate as run
    from geomtp.parallel import launched_as

    result = run(config)
    if launched_as()[0]:
        return 0  # the first process speaks
    for name, value in result.figures.items():
        print(f"{name:<28} {value:.4f}")
    print(result.page)
    return 0


def evaluate_check(words: Sequence[str]) -> int:
    """Whether an evaluation server would take a submission."""
    parser = argparse.ArgumentParser(
        prog="geomtp evaluate --check-submission",
        description=evaluate_check.__doc__,
        epilog="example: geomtp evaluate --check-submission Task1.zip --images DOTA/test/images",
    )
    parser.add_argument("--check-submission", required=True, metavar="FILE", help="the zip")
    parser.add_argument(
        "--submit", choices=("dota", "fair1m", "loveda"), help="for which server (by its files)"
    )
    parser.add_argument("--images", metavar="DIR", help="test images, to compare names and sizes")
    chosen = parser.parse_args(words)
    from pathlib import Path

    from geomtp.evaluation.submission_check import check_submission
    from geomtp.evaluation.submission_files import Expected

    expected = Expected.of_folder(Path(chosen.images)) if chosen.images else None
    checked = check_submission(Path(chosen.check_submission), chosen.submit, expected)
    print(checked.contents)
    for complaint in checked.complaints:
        print(f"geomtp: {complaint}", file=sys.stderr)
    if not checked.complaints:
        print("no fault found")
    return 1 if checked.complaints else 0


def evaluate_fair1m_xml(words: Sequence[str]) -> int:
    """FAIR1M's xml from DOTA's text files of detections."""
    parser = argparse.ArgumentParser(
        prog="geomtp evaluate fair1m-xml",
        description=evaluate_fair1m_xml.__doc__,
        epilog="example: geomtp evaluate fair1m-xml Task1_results --images fair1m/test/images "
        "--out fair1m.zip",
    )
    parser.add_argument("detections", metavar="TASK1", help="folder or zip of Task1_CLASS.txt")
    parser.add_argument("--images", required=True, metavar="DIR", help="the test images")
    parser.add_argument("--out", required=True, metavar="FILE", help="zip to write")
    parser.add_argument(
        "--reference-spelling",
        action="store_true",
        help="a space for every hyphen in class names, as the reference writes",
    )
    chosen = parser.parse_args(words)
    from pathlib import Path

    from geomtp.evaluation.fair1m_conversion import fair1m_from_dota

    places = (Path(chosen.detections), Path(chosen.images), Path(chosen.out))
    print(fair1m_from_dota(*places, reference_spelling=chosen.reference_spelling))
    return 0
