"""Everything the box keeps, by subject. Synchronous: callers on an event loop use a thread."""

from __future__ import annotations

from appliance.settings import Settings
from appliance.store.access import Attempts, Owner, SignIns
from appliance.store.api_keys import ApiKeys
from appliance.store.audit import Audit
from appliance.store.calls import Calls
from appliance.store.database import Database
from appliance.store.licences import Licences
from appliance.store.links import Links
from appliance.store.sessions import Sessions
from appliance.store.turns import Turns
from appliance.store.upgrading import upgrade


def open_store(settings: Settings) -> Store:
    """The box's store, its tables brought up to date.

    Raises:
        ApplianceError: the database is damaged, unreachable or of a newer version.
    """
    upgrade(settings.store_url)
    return Store(settings.store_url)


class Store(Database):
    """The database with a repository for each subject."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.sessions = Sessions(self)
        self.turns = Turns(self)
        self.links = Links(self)
        self.licences = Licences(self)
        self.owner = Owner(self)
        self.sign_ins = SignIns(self)
        self.attempts = Attempts(self)
        self.api_keys = ApiKeys(self)
        self.audit = Audit(self)
        self.calls = Calls(self)
