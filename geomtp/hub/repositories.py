"""Files out of repositories of the Hugging Face hub, and into them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from geomtp import __version__
from geomtp.encoders.weights import ENCODER_NAME

LIBRARY = "geomtp"

CARD = "README.md"

MODEL_NAME = "model.safetensors"

NAMES = (MODEL_NAME, ENCODER_NAME)
"""The files that are looked for in a folder or a repository, in this order."""

_REPO_ID = re.compile(r"[\w.-]+/[\w.-]+")


def published_name(kind: str) -> str:
    """What a file of ours is called in a repository; ``kind``: what its description says."""
    return ENCODER_NAME if kind.endswith("encoder") else MODEL_NAME


def is_repo_id(name: str) -> bool:
    """Whether ``name`` means a repository: USER/NAME, and neither it nor USER is a file here.

    So a folder that was mistyped, such as ``runs/frist``, is not asked for on the network.
    """
    place = Path(name)
    return (
        _REPO_ID.fullmatch(name) is not None
        and not name.startswith(".")
        and place.suffix not in (".safetensors", ".pth")
        and not place.exists()
        and not place.parent.exists()
    )


def fetch_file(
    repo_id: str,
    names: Sequence[str],
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
) -> Path:
    """Where the first of the files ``names`` that a repository holds lies, in the hub's cache.

    Raises ValueError, FileNotFoundError or OSError in one sentence: no such repository, revision or
    file, or nobody to ask.
    """
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    with _in_one_sentence(repo_id, revision):
        for name in names:
            try:
                path = hf_hub_download(
                    repo_id,
                    name,
                    revision=revision,
                    cache_dir=cache_dir,
                    token=token,
                    local_files_only=local_files_only,
                    library_name=LIBRARY,
                    library_version=__version__,
                )
            except LocalEntryNotFoundError:  # nobody was asked
                raise
            except EntryNotFoundError:
                continue
            return Path(path)
        found = HfApi(token=token).list_repo_files(repo_id, revision=revision)
    raise FileNotFoundError(no_weights(f"the repository {repo_id}", names, found))


def no_weights(place: str, names: Sequence[str], found: Sequence[str]) -> str:
    """The sentence on a place without weights of ours."""
    shown = ", ".join(sorted(found)[:6]) + (", …" if len(found) > 6 else "")
    return (
        f"{place} holds no {' or '.join(names)}, only {shown or 'nothing'}: geomtp reads what "
        f"geomtp wrote; weights of other libraries come in by `geomtp weights import`"
    )


def publish_files(
    repo_id: str,
    files: Mapping[str, Path | bytes],
    *,
    message: str,
    private: bool | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
) -> str:
    """Write ``files``, by their names there, into a repository as one commit; the address of it.

    The repository and the branch ``revision`` are made where they are missing.

    Raises ValueError or OSError in one sentence.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    operations = [
        CommitOperationAdd(path_in_repo=name, path_or_fileobj=content)
        for name, content in files.items()
    ]
    api = HfApi(token=token, library_name=LIBRARY, library_version=__version__)
    with _in_one_sentence(repo_id, revision):
        made = api.create_repo(repo_id, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(made.repo_id, branch=revision, exist_ok=True)
        api.create_commit(made.repo_id, operations, commit_message=message, revision=revision)
    return str(made)


@contextmanager
def _in_one_sentence(repo_id: str, revision: str | None) -> Iterator[None]:
    """Errors of the hub's library as ours."""
    from huggingface_hub import errors

    log_in = "log in by `hf auth login`"
    try:
        yield
    except errors.HFValidationError as error:
        raise ValueError(
            f"{repo_id!r} is neither a file or folder here nor a repository USER/NAME of the hub"
        ) from error
    except errors.GatedRepoError as error:
        raise PermissionError(
            f"{repo_id} is gated: accept its terms on its page, and {log_in}"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f"the hub has no model {repo_id}; if it is private, {log_in}"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise FileNotFoundError(f"{repo_id} has no revision {revision!r}") from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        raise OSError(
            f"{repo_id} is not on this machine and the hub cannot be asked for it (offline, or "
            f"HF_HUB_OFFLINE is set); connect, or name a folder that holds the files"
        ) from error
    except errors.LocalTokenNotFoundError as error:
        raise PermissionError(f"the hub does not know you: {log_in}") from error
    except errors.HfHubHTTPError as error:
        first = str(error).strip().partition("\n")[0]
        raise OSError(f"the hub refused {repo_id} ({first}); if it is yours, {log_in}") from error
    except errors.HTTPError as error:  # type: ignore[attr-defined] # whichever library asks
        raise OSError(f"the hub cannot be asked for {repo_id} ({error}); try again") from error
