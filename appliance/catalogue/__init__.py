"""Which models there are, their files and digests, and which one is selected."""

from appliance.catalogue.digests import verify_quick
from appliance.catalogue.installed import Catalogue, InstalledModel, ModelStatus

__all__ = ["Catalogue", "InstalledModel", "ModelStatus", "verify_quick"]
