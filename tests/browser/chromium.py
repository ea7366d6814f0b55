"""A real Chromium on the panel, with a microphone that plays a recording, and eyes on the network."""

from __future__ import annotations

import os
import shutil
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np
from playwright.sync_api import Page, Playwright, sync_playwright

from appliance.audio import read_audio
from appliance.settings import PROJECT_DIR

SHOTS = PROJECT_DIR / "test-results" / "browser"
RATE_HZ = 48_000
WIDTHS = (1440, 390)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
_AXE = PROJECT_DIR / "node_modules" / "axe-core" / "axe.min.js"
_OBSERVER = Path(__file__).with_name("observer.js")
# LiveKit's client complains so when its room is ended from elsewhere and the server's end of the
# data channel is closed before the word of it has come.
_CLOSING = ("publisher data channel '", "User-Initiated Abort")
_POLL_MS = 50
_HEIGHT = 860
Cookies = Sequence[dict[str, str]]
_running: list[Playwright] = []


@dataclass
class Visit:
    """One visit to the page and everything it did that may be wrong."""

    page: Page
    origin: str
    scheme: Literal["light", "dark"] = "light"
    strangers: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    """Everything the page has said on its console."""

    def watch(self) -> None:
        """Keep each request off the origin and each error on the console."""
        self.page.on("request", lambda request: self._look(request.url))
        self.page.on("websocket", lambda socket: self._look(socket.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda message: self._listen(message.type, message.text))

    def _listen(self, kind: str, text: str) -> None:
        self.told.append(text)
        if kind == "error":
            self.complaints.append(text)

    def _look(self, url: str) -> None:
        # What the page itself recorded and plays back.
        if urlsplit(url.removeprefix("blob:")).netloc != urlsplit(self.origin).netloc:
            self.strangers.append(url)

    def until(self, condition: Callable[[], object], within_s: float, what: str) -> Any:
        """Wait for the condition; returns what it gave. Playwright's own wait needs eval, which the CSP forbids."""
        deadline = time.monotonic() + within_s
        while not (value := condition()):
            if time.monotonic() > deadline:
                self.shot("failed")
                raise AssertionError(f"{what} not within {within_s:g} s: {self.text('body')!r}")
            self.page.wait_for_timeout(_POLL_MS)
        return value

    def text(self, selector: str) -> str:
        """What this element shows."""
        return self.page.locator(selector).inner_text()

    def lines(self, speaker: Literal["you", "agent"]) -> list[str]:
        """What one side has said that will not change any more."""
        return self.page.locator(f".line.{speaker}:not(.partial) .said").all_inner_texts()

    def phase(self) -> str | None:
        """The state of the call that the page shows."""
        return self.page.locator("#talk").get_attribute("data-phase")

    def wait_phase(self, phase: str, within_s: float) -> None:
        """Wait until the page shows this state."""
        self.until(lambda: self.phase() == phase, within_s, phase)

    def observed(self, name: str) -> Any:
        """A figure of observer.js."""
        return self.page.evaluate("name => window.observed[name]", name)

    def sent(self) -> dict[str, float]:
        """Seconds of sound and energy that the microphone has sent."""
        figures: dict[str, float] = self.page.evaluate("() => window.sent()")
        return figures

    def shot(self, name: str) -> None:
        """Keep a picture of the page."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png")

    def go(self, path: str) -> None:
        """Open another page of the same box."""
        self.page.goto(self.origin.rstrip("/") + path)

    def look(self, name: str, *, whole: bool = True) -> None:
        """Keep a picture of this page as it is now in each width and scheme, and let axe judge it.

        Axe looks once at each scheme and once at each width, which takes half as long as all four: the
        colours of all widths are the same variables.

        Args:
            name: of the pictures.
            whole: whether the picture shows what lies below the window too.
        """
        SHOTS.mkdir(parents=True, exist_ok=True)
        size = self.page.viewport_size
        for narrow, width in enumerate(WIDTHS):
            self.page.set_viewport_size({"width": width, "height": _HEIGHT})
            for dark, scheme in enumerate(SCHEMES):
                self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                path = SHOTS / f"{name}-{width}-{scheme}.png"
                self.page.screenshot(path=path, full_page=whole)
                if narrow == dark:
                    assert self.faults() == [], f"{name}, {width} px, {scheme}"
                assert self.overflow() <= 0, f"{name} is wider than {width} px"
        self.page.emulate_media(color_scheme=self.scheme, reduced_motion="null")
        if size is not None:
            self.page.set_viewport_size(size)

    def faults(self) -> list[str]:
        """What axe-core finds serious or critical on this page."""
        if not self.page.evaluate("() => 'axe' in window"):
            self.page.evaluate(_AXE.read_text(encoding="utf-8"))
        found: list[dict[str, Any]] = self.page.evaluate(
            "async () => (await axe.run(document, {resultTypes: ['violations']})).violations"
        )
        return [
            f"{each['impact']} {each['id']}: {node['html'][:160]} {node.get('failureSummary', '')}"
            for each in found
            if each["impact"] in ("serious", "critical")
            for node in each["nodes"]
        ]

    def overflow(self) -> int:
        """By how many pixels the page is wider than its window."""
        wider: int = self.page.evaluate(
            "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return wider

    def assert_clean(self) -> None:
        """Nothing was asked of anyone else, nothing was refused by the CSP, nothing complained."""
        assert not self.strangers, self.strangers
        assert not (seen := self.observed("violations")), seen
        assert not (seen := self.observed("iceServers")), seen
        allowed = _CLOSING if self._is_over() else ()
        left = [one for one in self.complaints if not any(words in one for words in allowed)]
        assert not left, "\n".join(left)

    def _is_over(self) -> bool:
        return self.page.locator("#talk[data-phase=ended]").count() > 0


@dataclass(frozen=True)
class Device:
    """Another one than this machine, with authorities of its own to trust."""

    chromium: Path
    """A program that starts Chromium there."""
    home: Path
    """Its user's folder."""


@contextmanager
def visit(
    url: str,
    *,
    microphone: Path | Literal["beeps", "denied"] = "beeps",
    path: str = "/",
    cookies: Cookies = (),
    width: int = 1440,
    scheme: Literal["light", "dark"] = "light",
    device: Device | None = None,
) -> Iterator[Visit]:
    """Open the page.

    Args:
        url: the box's address.
        path: of the page that is opened first.
        cookies: what ``box.sign_in()`` gave; none: nobody is signed in.
        microphone: a 48 kHz wav that is played once, Chromium's beep every second, or refused.
        width: of the window, in pixels.
        scheme: what the visitor's system prefers.
        device: on which the browser runs; None: on this machine.
    """
    flags = [
        "--no-sandbox",
        "--use-fake-device-for-media-stream",
        "--allow-loopback-in-peer-connection",
        "--disable-features=WebRtcHideLocalIpsWithMdns",
    ]
    if microphone != "denied":
        flags.append("--use-fake-ui-for-media-stream")
    if isinstance(microphone, Path):
        flags.append(f"--use-file-for-fake-audio-capture={microphone}%noloop")
    program = device.chromium if device else installed_chromium()
    home = {"HOME": str(device.home)} if device else {}
    with _playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=flags, env={**os.environ, **home}
        )
        try:
            context = browser.new_context(
                color_scheme=scheme, viewport={"width": width, "height": _HEIGHT}
            )
            context.add_cookies(
                [{"name": each["name"], "value": each["value"], "url": url} for each in cookies]
            )
            context.add_init_script(path=_OBSERVER)
            visited = Visit(context.new_page(), url, scheme)
            visited.watch()
            visited.go(path)
            yield visited
        finally:
            browser.close()


def installed_chromium() -> str:
    """The machine's."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    assert chromium, "no Chromium: apt-get install chromium"
    return chromium


@contextmanager
def _playwright() -> Iterator[Playwright]:
    """One for all visits that are open at the same time: it cannot be started twice in a thread."""
    if _running:
        yield _running[0]
        return
    with sync_playwright() as started:
        _running.append(started)
        try:
            yield started
        finally:
            _running.clear()


def spoken(path: Path, clip: Path, silence_s: float) -> Path:
    """Write a wav for the fake microphone: faint noise, the clip, faint noise for two minutes."""
    speech = read_audio(clip).resampled(RATE_HZ).samples
    quiet = np.random.default_rng(0).standard_normal(int((silence_s + 120) * RATE_HZ)) * 3e-4
    start = int(silence_s * RATE_HZ)
    quiet[start : start + len(speech)] += speech
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes((np.clip(quiet, -1, 1) * 32767).astype("<i2").tobytes())
    return path
