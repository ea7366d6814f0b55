"""Makes the pictures of docs/panel.md from those that the browser tests took: run this file after them."""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

from appliance.settings import PROJECT_DIR
from tests.browser.chromium import SHOTS

FOLDER = PROJECT_DIR / "docs" / "pictures"
# What a picture is called in the docs, and from which one it is made.
PICTURES = {
    "home": "home",
    "talk": "talk-call-1440-light",
    "calls": "calls-live-1440-light",
    "call": "call-1440-light",
    "access": "access-link-1440-light",
    "guest-phone": "join-390-light",
    "models": "models-1440-light",
    "persona": "page-personas-default-1440-light",
    "settings": "settings-review-1440-light",
    "doctor": "doctor-checked",
}
_WIDTH = 1000
_PHONE_WIDTH = 300
_TALLEST = 0.6
_COLOURS = 256


def make(folder: Path = FOLDER) -> list[Path]:
    """Write each picture, small; what lies far below is cut off."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, source in PICTURES.items():
        picture: Image.Image = Image.open(SHOTS / f"{source}.png").convert("RGB")
        phone = picture.width < 600
        tallest = picture.height if phone else round(picture.width * _TALLEST)
        picture = picture.crop((0, 0, picture.width, min(picture.height, tallest)))
        width = _PHONE_WIDTH if phone else _WIDTH
        picture = picture.resize((width, round(picture.height * width / picture.width)))
        path = folder / f"{name}.png"
        picture.quantize(_COLOURS, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)
        made.append(path)
    return made


if __name__ == "__main__":
    for path in make():
        size = path.stat().st_size >> 10
        sys.stdout.write(f"{path.relative_to(PROJECT_DIR)}  {size} KiB\n")
