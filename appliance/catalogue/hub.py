"""Models from the hub: pinned revision, resumed downloads, digests from the catalogue or the hub."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.catalogue.digests import sha256_of
from appliance.catalogue.entries import HubSource, ModelEntry
from appliance.catalogue.lock import LockedFile, LockedModel
from appliance.catalogue.package_index import Progress
from appliance.catalogue.staging import Staging, check_space
from appliance.errors import ApplianceError, Refused

if TYPE_CHECKING:
    import httpx2  # what huggingface_hub speaks with

_BLOCK = 1 << 18
_TRIES = 6
_STALL_S = 30.0


@dataclasses.dataclass(frozen=True)
class _Remote:
    """What the hub states about a file at one revision."""

    name: str
    path: str
    size: int
    sha256: str | None
    blob_id: str
    """Git's SHA-1 of small files, which the hub keeps without a SHA-256."""


def fetch(
    entry: ModelEntry, source: HubSource, staging: Staging, progress: Progress
) -> LockedModel:
    """Fill ``staging.ready`` with the model's checked files and return what to lock.

    Raises:
        ApplianceError: no room, no network, not allowed, or wrong bytes.
    """
    revision, remotes = _look_up(entry, source)
    total = sum(remote.size for remote in remotes)
    check_space(staging.folder, total - sum(_have(staging, remote) for remote in remotes))
    locked: dict[str, LockedFile] = {}
    done = 0
    for remote in remotes:
        ready = staging.ready / remote.name
        # A file that was ready before may have been cut short by a power cut.
        digest = _right_digest(ready, remote) if ready.is_file() else None
        if digest is None:
            part = _part(staging, remote)
            url = _url(source.repo, remote.path, revision)
            _download(url, part, remote, _shifted(progress, done, total))
            digest = _right_digest(part, remote)
            if digest is None:
                part.unlink()
                raise _wrong_bytes(remote, source.repo)
            part.replace(ready)
        done += remote.size
        progress(done, total)
        locked[remote.name] = LockedFile(sha256=digest, size=remote.size)
    return LockedModel(revision=revision, files=locked)


def _look_up(entry: ModelEntry, source: HubSource) -> tuple[str, list[_Remote]]:
    """The commit, and each file with the catalogue's digest or else the hub's."""
    import httpx2  # what huggingface_hub speaks with
    from huggingface_hub import HfApi, RepoFile
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
    )

    api = HfApi()
    try:
        revision = source.revision or api.model_info(source.repo).sha
        if not revision:
            raise ApplianceError("hub_unusable", f"The hub names no revision of {source.repo}.")
        paths = {file.path or file.name: file for file in entry.files}
        found = api.get_paths_info(source.repo, list(paths), revision=revision)
    except GatedRepoError as error:
        raise Refused(
            "hub_gated", f"The hub gives {source.repo} only to those who have accepted its licence.",
            "Accept it on the hub, then set HF_TOKEN for this one command.",
        ) from error  # fmt: skip
    except (RepositoryNotFoundError, EntryNotFoundError) as error:
        raise ApplianceError(
            "hub_not_found", f"The hub no longer has {source.repo} at the pinned revision."
        ) from error
    except (HfHubHTTPError, httpx2.HTTPError, OSError) as error:
        raise _unreachable() from error
    remotes = []
    for info in found:
        if isinstance(info, RepoFile):
            file = paths[info.path]
            stated = info.lfs.sha256 if info.lfs else None
            remotes.append(
                _Remote(file.name, info.path, info.size, file.sha256 or stated, info.blob_id)
            )
    missing = set(paths) - {remote.path for remote in remotes}
    if missing:
        raise ApplianceError(
            "hub_not_found",
            f"The hub has no {min(missing)} in {source.repo} at the pinned revision.",
        )
    return revision, remotes


def _have(staging: Staging, remote: _Remote) -> int:
    """Bytes of this file that are already here."""
    ready = staging.ready / remote.name
    for path in (ready, _part(staging, remote)):
        if path.is_file():
            return min(path.stat().st_size, remote.size)
    return 0


def _part(staging: Staging, remote: _Remote) -> Path:
    """Where the file grows; another content at the hub is another part."""
    return staging.downloads / f"{remote.name}.{remote.blob_id[:16]}.part"


def _shifted(progress: Progress, before: int, total: int) -> Callable[[int], None]:
    return lambda count: progress(before + count, total)


def _url(repo: str, path: str, revision: str) -> str:
    from huggingface_hub import hf_hub_url

    return hf_hub_url(repo, path, revision=revision)


def _download(url: str, part: Path, remote: _Remote, tell: Callable[[int], None]) -> None:
    """Append to the part until it has the file's size; a broken line is taken up again."""
    import httpx2  # what huggingface_hub speaks with
    from huggingface_hub import get_token

    headers = {"Accept-Encoding": "identity", "User-Agent": "earshot"}
    if token := get_token():
        headers["Authorization"] = f"Bearer {token}"
    timeout = httpx2.Timeout(_STALL_S, connect=10)
    with httpx2.Client(headers=headers, timeout=timeout, follow_redirects=True) as client:
        failures = 0
        while (have := part.stat().st_size if part.exists() else 0) < remote.size:
            try:
                _append(client, url, part, have, tell)
            except httpx2.HTTPStatusError as error:
                if error.response.status_code < 500 and error.response.status_code != 429:
                    raise ApplianceError(
                        "hub_refused",
                        f"The hub refused {remote.path} with status {error.response.status_code}.",
                    ) from error
                failures += 1
            except httpx2.HTTPError:
                failures += 1
            else:
                continue
            grown = part.exists() and part.stat().st_size > have
            failures = 1 if grown else failures
            if failures >= _TRIES:
                raise _unreachable()
            time.sleep(2.0 ** (failures - 1))


def _append(
    client: httpx2.Client, url: str, part: Path, have: int, tell: Callable[[int], None]
) -> None:
    headers = {"Range": f"bytes={have}-"} if have else {}
    with client.stream("GET", url, headers=headers) as answer:
        answer.raise_for_status()
        # A server that ignores Range answers 200 with the whole file.
        resumed = answer.status_code == 206
        with part.open("ab" if resumed else "wb") as out:
            count = have if resumed else 0
            for block in answer.iter_bytes(_BLOCK):
                out.write(block)
                count += len(block)
                tell(count)


def _right_digest(path: Path, remote: _Remote) -> str | None:
    """The file's SHA-256, or None if it is not what the catalogue, or else the hub, states."""
    digest = sha256_of(path)
    if remote.sha256:
        return digest if digest == remote.sha256 else None
    content = path.read_bytes()
    header = f"blob {len(content)}\0".encode()
    # Git's own name for the file; not a security digest, but all the hub states for small files.
    name = hashlib.sha1(header + content, usedforsecurity=False).hexdigest()
    return digest if name == remote.blob_id else None


def _wrong_bytes(remote: _Remote, repo: str) -> ApplianceError:
    return ApplianceError(
        "wrong_digest",
        f"{remote.path} from {repo} does not have the digest that is expected; it was deleted.",
        "Try again; if it happens again, the source has changed and must not be trusted.",
        can_retry=True,
    )


def _unreachable() -> ApplianceError:
    return ApplianceError(
        "hub_unreachable", "The model hub cannot be reached.",
        "Check the network and pull again; what has arrived is kept.", can_retry=True,
    )  # fmt: skip
