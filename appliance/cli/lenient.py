"""Settings for the commands that are needed most while the settings are wrong."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from appliance.settings import Settings


def settings_or_least() -> Settings:
    """The settings, or with a warning those that know the data folder alone.

    Raises:
        BadSettings: the environment has an unknown name, which may be the data folder's misspelt.
    """
    from appliance.errors import BadSettings
    from appliance.settings import least_settings, load_settings

    try:
        return load_settings()
    except BadSettings as error:
        settings = least_settings()
        print(f"Warning: {error}", file=sys.stderr)
        return settings
