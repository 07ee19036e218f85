"""A headless Chromium that shows a page, and what can be asked of it."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
DESKTOP, PHONE = (1360, 900), (390, 844)


def require() -> None:
    """Skip the test, with the reason, where there is no browser; fail where LOADSTONE_REQUIRE_BROWSER=1 demands one."""
    missing = [str(path) for path in (CHROMIUM, DRIVER) if shutil.which(path) is None]
    if missing:
        said = f"no browser: {' and '.join(missing)} missing"
        pytest.fail(said) if os.environ.get("LOADSTONE_REQUIRE_BROWSER") == "1" else pytest.skip(said)


class Browser:
    """One browser process with a profile of its own."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, path: Path, size: tuple[int, int] = DESKTOP, *, dark: bool = False, fragment: str = "") -> None:
        """Show the file at `path` in a window of `size` CSS pixels and wait until its pictures are drawn; `fragment` is what
        stands behind the address."""
        from selenium.webdriver.support.wait import WebDriverWait

        for kind in ("browser", "performance"):
            self.driver.get_log(kind)
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        if fragment:
            self.driver.get("about:blank")  # else only the fragment would change
        self.driver.get(f"{path.as_uri()}#{fragment}" if fragment else path.as_uri())
        ready = "return document.documentElement.dataset.ready"
        WebDriverWait(self.driver, 60).until(lambda driver: driver.execute_script(ready) == "true")

    def ask(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def complaints(self) -> list[str]:
        """Everything that the page wrote to the console since it was opened."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """The addresses that the page asked for since it was opened, but for what it holds itself."""
        entries = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [one["params"]["request"]["url"] for one in entries if one["method"] == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith(("data:", "blob:"))]

    def picture(self, selector: str) -> str:
        """The element as a PNG, base64."""
        from selenium.webdriver.common.by import By

        return str(self.driver.find_element(By.CSS_SELECTOR, selector).screenshot_as_base64)

    def ink(self, picture: str, columns: int, lines: int) -> list[float]:
        """The share of pixels in each cell of a grid that stand out from the background, row by row, 0..1."""
        found = self.driver.execute_async_script(_INK, picture, columns, lines)
        return [float(share) for share in found]

    def pdf(self) -> bytes:
        """The page as printed."""
        printed = self.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True, "preferCSSPageSize": True})
        return base64.b64decode(printed["data"])


# Decoded by the browser itself, so that no image library is needed.
_INK = """
const [picture, columns, lines, done] = arguments;
const image = new Image();
image.onload = () => {
  const canvas = document.createElement("canvas");
  canvas.width = image.width; canvas.height = image.height;
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, image.width, image.height).data;
  const light = (x, y) => { const at = 4 * (y * image.width + x); return (pixels[at] + pixels[at + 1] + pixels[at + 2]) / 3; };
  const ground = light(8, 8), shares = [];
  for (let row = 0; row < lines; row++) for (let column = 0; column < columns; column++) {
    const left = Math.floor(column * image.width / columns), right = Math.floor((column + 1) * image.width / columns);
    const top = Math.floor(row * image.height / lines), bottom = Math.floor((row + 1) * image.height / lines);
    let inked = 0;
    for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) inked += Math.abs(light(x, y) - ground) > 60;
    shares.push(Number((inked / ((right - left) * (bottom - top))).toFixed(4)));
  }
  done(shares);
};
image.src = "data:image/png;base64," + picture;
"""


@contextmanager
def started(profile: Path) -> Iterator[Browser]:
    """A browser with its profile in the empty folder `profile`, gone at the end."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
