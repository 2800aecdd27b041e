"""A name or a path -> the local folder of a checkpoint: aliases, folders, and repositories on the Hugging Face hub.

A repository is downloaded once, resumably, with progress on stderr, and its config is read before its weights are
fetched. What is here already is used without asking the network. The tensors are checked when checkpoint.py opens them.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from harmonium.errors import CannotWrite, ModelNotFound
from harmonium.model import config_file, layout

NANO_FOLDER = Path(__file__).parents[1] / "assets" / "nano"

REPOSITORIES = {"20b": "openai/gpt-oss-20b", "120b": "openai/gpt-oss-120b"}
REPOSITORIES |= {f"gpt-oss-{size}": repository for size, repository in REPOSITORIES.items()}

NEEDED = ["config.json", "tokenizer.json", "model*.safetensors", layout.INDEX]
WANTED = [*NEEDED, "generation_config.json", "tokenizer_config.json", "*.jinja", "LICENSE"]
UNWANTED = ["*/*"]
"""Subfolders: the published repositories repeat the weights in `original/` and `metal/`."""


def resolve(name: str | Path) -> Path:
    """The folder of an alias (nano, 20b, 120b), of a path, or of a repository such as openai/gpt-oss-20b.

    Raises ModelNotFound where there is no such model or no network to fetch it over, BadCheckpoint where it is no
    gpt-oss, CannotWrite where there is no room for it.
    """
    found = _here(name)
    return found if isinstance(found, Path) else _download(found)


def find(name: str | Path) -> Path:
    """The same, of what is on this machine; raises ModelNotFound for what would have to be fetched first."""
    found = _here(name)
    if isinstance(found, Path):
        return found
    raise ModelNotFound(f"{found} is not on this machine; fetch it with `harmonium chat --model {found}`.")


def _here(name: str | Path) -> Path | str:
    """The folder of a model that is here, or else the repository to fetch it from."""
    if str(name) == "nano":
        return NANO_FOLDER
    repository = REPOSITORIES.get(str(name))
    if repository is None:
        folder, repository = Path(os.path.expanduser(name)), str(name)
        if repository and folder.is_dir():
            return folder
        if folder.is_file():
            raise ModelNotFound(f"{name} is a file; give the folder that it is in.")
        if isinstance(name, Path) or repository.count("/") != 1 or repository[0] in "./~":
            raise ModelNotFound(f"There is no model {repository!r}{_did_you_mean(repository)}")
    return _cached(repository) or repository


def _did_you_mean(name: str) -> str:
    near = difflib.get_close_matches(name, ["nano", *REPOSITORIES, *REPOSITORIES.values()], n=1)
    hint = f"; did you mean {near[0]}? " if near else ". "
    return hint + "Give nano, 20b, 120b, a folder, or a repository such as openai/gpt-oss-20b."


def _cached(repository: str) -> Path | None:
    """The folder of an earlier download, if that is complete."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(repository, local_files_only=True, allow_patterns=NEEDED))
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    is_whole = all((folder / name).exists() for name in NEEDED[:2]) and not layout.missing_files(folder)
    return folder if is_whole else None


def _download(repository: str) -> Path:
    from huggingface_hub import errors, snapshot_download

    try:
        folder = Path(snapshot_download(repository, allow_patterns="config.json"))
        config_file.read(folder / "config.json")
        return Path(snapshot_download(repository, allow_patterns=WANTED, ignore_patterns=UNWANTED))
    except errors.GatedRepoError:
        raise ModelNotFound(f"{repository} needs its owner's leave; ask for it there, then `hf auth login`.") from None
    except (errors.RepositoryNotFoundError, errors.HFValidationError):
        what = f"There is no {repository!r} on the Hugging Face hub, or only for those logged in (`hf auth login`)"
        raise ModelNotFound(what + _did_you_mean(repository)) from None
    except (errors.LocalEntryNotFoundError, errors.HTTPError) as error:  # type: ignore[attr-defined]
        reason = str(error).partition("\n")[0]
        raise ModelNotFound(
            f"{repository} is not on this machine and cannot be fetched ({reason}). Try again with a network (a "
            f"download goes on where it stopped), or give a folder that has it."
        ) from error
    except OSError as error:
        raise CannotWrite(
            f"{repository} cannot be stored ({error}); free space, or set HF_HOME to another disk."
        ) from error
