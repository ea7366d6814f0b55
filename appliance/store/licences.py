"""Licences of models that the owner has accepted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import delete, insert, select

from appliance.store.database import Database
from appliance.store.models import LicenceRow

_LICENCES = LicenceRow.__table__.c
_LONGEST_NAME = 120


@dataclass(frozen=True)
class Acceptance:
    """The owner's word on one model's licence."""

    model_id: str
    licence: str
    accepted_at: datetime
    accepted_by: str


class Licences:
    """The accepted licences."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def accept(self, model_id: str, licence: str, by: str) -> None:
        """Keep that this model's licence was accepted; a later word takes the place of an earlier."""
        row = {
            "model_id": model_id, "licence": licence[:200], "accepted_at": datetime.now(UTC),
            "accepted_by": by[:_LONGEST_NAME],
        }  # fmt: skip
        with self._database.write() as connection:
            connection.execute(delete(LicenceRow).where(_LICENCES.model_id == model_id))
            connection.execute(insert(LicenceRow).values(**row))

    def accepted(self) -> dict[str, Acceptance]:
        """Every accepted licence by its model's id."""
        with self._database.read() as connection:
            rows = connection.execute(select(LicenceRow.__table__)).mappings().all()
        return {row["model_id"]: Acceptance(**row) for row in rows}

    def is_accepted(self, model_id: str, licence: str) -> bool:
        """Whether exactly this licence of this model was accepted."""
        found = self.accepted().get(model_id)
        return found is not None and found.licence == licence[:200]
