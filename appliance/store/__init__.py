"""What is kept of every call: sessions, turns and how they ended."""

from __future__ import annotations

from appliance.store.repositories import Store, open_store
from appliance.store.upgrading import upgrade
from appliance.store.vocabulary import ACTIVE, EndState, Session, Turn

__all__ = ["ACTIVE", "EndState", "Session", "Store", "Turn", "open_store", "upgrade"]
