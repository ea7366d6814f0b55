"""What other devices are told before they trust the box: the page of plain http, and the authority's files."""

from appliance.explaining.authority import MEDIA_TYPES, MOBILECONFIG, authority_files
from appliance.explaining.page import write
from appliance.explaining.ways import WayIn, moved_from, way_in

__all__ = [
    "MEDIA_TYPES",
    "MOBILECONFIG",
    "WayIn",
    "authority_files",
    "moved_from",
    "way_in",
    "write",
]
