"""Whether an evaluation server would take a submission."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from geomtp.evaluation.dota_submission import check_dota
from geomtp.evaluation.fair1m_submission import check_fair1m
from geomtp.evaluation.loveda_submission import check_loveda
from geomtp.evaluation.submission_files import Complaints, Expected, SubmissionFiles

Checker = Callable[[SubmissionFiles, Expected | None, Complaints], str]

CHECKERS: dict[str, Checker] = {
    "dota": check_dota,
    "fair1m": check_fair1m,
    "loveda": check_loveda,
}

_SUFFIXES = {".txt": "dota", ".xml": "fair1m", ".png": "loveda"}


@dataclass(frozen=True)
class Checked:
    """What a submission holds, in one line, and a sentence for each kind of fault."""

    contents: str
    complaints: tuple[str, ...]


def check_submission(
    path: Path, kind: str | None = None, expected: Expected | None = None
) -> Checked:
    """Look a zip (or folder) through as its server would.

    Args:
        path: the zip.
        kind: "dota", "fair1m" or "loveda"; by default told by the files in it.
        expected: the test images, to compare names and sizes with.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: another kind, or a file that is no zip.
    """
    files = SubmissionFiles(path)
    if kind is None:
        suffixes = {Path(name).suffix for name in files.names}
        known = {_SUFFIXES[suffix] for suffix in suffixes if suffix in _SUFFIXES}
        if len(known) != 1:
            raise ValueError(
                f"{path} cannot be told to be a submission: expected files .txt (DOTA), .xml "
                f"(FAIR1M) or .png (LoveDA), found {', '.join(sorted(suffixes)) or 'nothing'}; "
                f"say which by --submit"
            )
        kind = known.pop()
    if kind not in CHECKERS:
        raise ValueError(f"unknown kind of submission {kind!r}; known: {', '.join(CHECKERS)}")
    complaints = Complaints()
    contents = CHECKERS[kind](files, expected, complaints)
    return Checked(contents, tuple(complaints.sentences))


def require_accepted(path: Path, kind: str, expected: Expected) -> str:
    """Look a submission through that was just written: path and contents, in one line.

    Raises ValueError with the first fault that the server would see.
    """
    checked = check_submission(path, kind, expected)
    if checked.complaints:
        raise ValueError(f"{path} was written, but would be refused: {checked.complaints[0]}")
    return f"{path}: {checked.contents}"
