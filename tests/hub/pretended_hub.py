"""A hub in a folder, in place of the functions of huggingface_hub that ask the network.

Calls must fit the real signatures, and errors are the real ones.
"""

from __future__ import annotations

import inspect
import shutil
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import HfApi, errors


def refusal(kind, message, status=404):
    """An error of the hub, with the answer that it carries."""
    library = inspect.getmodule(errors.HTTPError).__name__.partition(".")[0]
    web = __import__(library)
    request = web.Request("GET", "https://huggingface.co/x")
    return kind(message, response=web.Response(status, request=request))


class PretendedHub:
    """Repositories by name: folders with a folder per revision."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.commits: list[str] = []

    def add(self, repo_id: str, files: dict[str, bytes], revision: str = "main") -> None:
        for name, content in files.items():
            path = self.folder / repo_id / revision / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def _revision(self, repo_id: str, revision: str | None) -> Path:
        self.asked.append(repo_id)
        if not (self.folder / repo_id).is_dir():
            raise refusal(errors.RepositoryNotFoundError, "Repository Not Found", 401)
        place = self.folder / repo_id / (revision or "main")
        if not place.is_dir():
            raise refusal(errors.RevisionNotFoundError, "Revision Not Found")
        return place

    def download(self, repo_id, filename, *, revision=None, **others):
        path = self._revision(repo_id, revision) / filename
        if not path.is_file():
            missing = getattr(errors, "RemoteEntryNotFoundError", errors.EntryNotFoundError)
            raise refusal(missing, "Entry Not Found")
        return str(path)

    def list_repo_files(self, api, repo_id, *, revision=None, **others):
        return [path.name for path in self._revision(repo_id, revision).iterdir()]

    def create_repo(self, api, repo_id, *, private=None, exist_ok=False, **others):
        assert exist_ok
        if repo_id.startswith("stranger/"):
            raise refusal(errors.HfHubHTTPError, "403 Forbidden\nyou may not", 403)
        if repo_id.startswith("cut-off/"):
            raise errors.HTTPError("no route")
        (self.folder / repo_id / "main").mkdir(parents=True, exist_ok=True)
        return huggingface_hub.RepoUrl(f"https://huggingface.co/{repo_id}")

    def create_branch(self, api, repo_id, *, branch, exist_ok=False, **others):
        assert exist_ok
        (self.folder / repo_id / branch).mkdir(parents=True, exist_ok=True)

    def create_commit(self, api, repo_id, operations, *, commit_message, revision=None, **others):
        place = self._revision(repo_id, revision)
        for operation in operations:
            content = operation.path_or_fileobj
            if isinstance(content, bytes):
                (place / operation.path_in_repo).write_bytes(content)
            else:
                shutil.copy(content, place / operation.path_in_repo)
        self.commits.append(commit_message)


def pretend(hub: PretendedHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put ``hub`` in the place of the network."""

    def checked(real, ours):
        signature = inspect.signature(real)

        def call(*words, **named):
            signature.bind(*words, **named)
            return ours(*words, **named)

        return call

    real = huggingface_hub.hf_hub_download
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", checked(real, hub.download))
    for name in ("list_repo_files", "create_repo", "create_branch", "create_commit"):
        method = checked(getattr(HfApi, name), getattr(hub, name))
        monkeypatch.setattr(HfApi, name, method)
