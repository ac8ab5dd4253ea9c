"""Fingerprints of a model's files, so that what is loaded is what was registered.

`digests.json` in a model folder holds the SHA-256 of every other file in it; the registry keeps the
SHA-256 of `digests.json` itself, out of reach of whoever can write the folder alone.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from salesops_ml.errors import RegistryError

DIGESTS = "digests.json"
PICKLE_SUFFIXES = frozenset(
    {".pkl", ".pickle", ".joblib", ".cloudpickle", ".dill", ".pt", ".pth", ".npy", ".npz"}
)
PICKLE_STARTS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def write_digests(folder: Path) -> str:
    """Write `digests.json` for all files below `folder`; returns its own SHA-256."""
    found = {str(path.relative_to(folder).as_posix()): _sha256(path) for path in _files(folder)}
    target = folder / DIGESTS
    target.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return _sha256(target)


def check_digests(folder: Path, *, expected: str | None = None) -> None:
    """Refuse a folder whose files are not those that were registered.

    Args:
        folder: the model folder.
        expected: SHA-256 of its `digests.json` as the registry has it; None: not asked for.

    Raises:
        RegistryError: a file was changed, added or removed, or `digests.json` is not the one that
            was registered.
    """
    target = folder / DIGESTS
    if not target.is_file():
        raise RegistryError(
            f"{folder}: has no {DIGESTS}, so it was not written by this package; "
            "register the model anew with `salesops train`"
        )
    if expected is not None and _sha256(target) != expected:
        _refuse(target, "is not the one that was registered")
    wanted = _read(target)
    here = {str(path.relative_to(folder).as_posix()): path for path in _files(folder)}
    for name in sorted(set(wanted) | set(here)):
        if name not in here:
            _refuse(folder / name, "is missing")
        if name not in wanted:
            _refuse(folder / name, "was added after registration")
        if _sha256(here[name]) != wanted[name]:
            _refuse(here[name], "was changed after registration")


def refuse_pickles(folder: Path) -> None:
    """Refuse a folder that holds a pickle: opening one runs whatever code it carries.

    Raises:
        RegistryError: a file has a pickle's suffix or a pickle's first bytes.
    """
    for path in _files(folder):
        with path.open("rb") as stream:
            start = stream.read(2)
        if path.suffix.lower() in PICKLE_SUFFIXES or start in PICKLE_STARTS:
            raise RegistryError(
                f"{path}: is a pickle, which can run any code when opened; it is not loaded. "
                "Models here are LightGBM text, JSON and Arrow"
            )


def _refuse(path: Path, what: str) -> None:
    raise RegistryError(
        f"{path}: {what}; the model is not loaded. Promote another version, or train anew"
    )


def _read(target: Path) -> dict[str, str]:
    try:
        values = json.loads(target.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise RegistryError(f"{target}: cannot be read: {error}; train anew") from error
    if not isinstance(values, dict):
        raise RegistryError(f"{target}: holds no mapping of file to SHA-256; train anew")
    return {str(name): str(digest) for name, digest in values.items()}


def _files(folder: Path) -> list[Path]:
    own = folder / DIGESTS
    return sorted(path for path in folder.rglob("*") if path.is_file() and path != own)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
