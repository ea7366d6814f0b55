"""Which licences may be used without asking, and which the owner has to accept first."""

from __future__ import annotations

from appliance.catalogue.entries import ModelEntry
from appliance.catalogue.shape import Shape

# Free to use for any purpose, commercial too. Whatever is not on this list is read by a person.
PERMISSIVE = frozenset(
    {
        "mit", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "isc", "cc0-1.0", "cc-by-4.0",
        "unlicense", "public domain",
    }
)  # fmt: skip


def is_permissive(licence: str) -> bool:
    """Whether a model of this licence may be used without anybody's word."""
    return licence.strip().lower() in PERMISSIVE


def licence_of(entry: ModelEntry, shape: Shape | None) -> str:
    """A model's licence: the catalogue's word, for an own file what the file says of itself."""
    if entry.source is None and shape is not None and shape.licence.strip():
        return shape.licence.strip()
    return entry.licence
