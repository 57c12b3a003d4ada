"""The page in a real browser, where one is installed."""

import json
import shutil
import subprocess
from html import unescape

import pytest

from equinet.evaluation.report import write_report

_BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(_BROWSER is None, reason="neither chromium nor google-chrome here")

# Loads the page in a frame as wide as a phone, drags the first drawing, and tells what came of it.
_PROBE = """<!doctype html><meta charset="utf-8">
<iframe style="border: 0; width: 390px; height: 844px" srcdoc="{page}"></iframe>
<script>
const frame = document.querySelector("iframe"), errors = [];
frame.contentWindow.addEventListener("error", event => errors.push(event.message));
frame.addEventListener("load", () => {{
  const page = frame.contentDocument, drawing = page.querySelector("svg.structure");
  const view = frame.contentWindow;
  view.addEventListener("error", event => errors.push(event.message));
  const places = () => [...drawing.querySelectorAll("circle")]
    .sort((a, b) => a.dataset.p - b.dataset.p).map(each => each.getAttribute("cx")).join();
  const before = places();
  view.Element.prototype.setPointerCapture = () => null;
  const move = (kind, x) => drawing.dispatchEvent(
    new view.PointerEvent(kind, {{clientX: x, clientY: 50, pointerId: 1}}));
  move("pointermove", 10);
  const still = places();
  move("pointerdown", 10);
  move("pointermove", 90);
  const after = places();
  move("pointerup", 90);
  move("pointermove", 10);
  const found = {{
    errors, is_still: before === still, rotates: before !== after, ends: after === places(),
    width: view.innerWidth, needed: page.documentElement.scrollWidth,
    charts: [...page.querySelectorAll("svg")].filter(each => each.clientHeight > 100).length,
  }};
  const told = document.createElement("pre");
  told.id = "found";
  told.textContent = JSON.stringify(found);
  document.body.append(told);
}});
</script>
"""


def test_the_page_fits_a_phone_and_runs_without_error(folder, tmp_path):
    page = write_report(folder).read_text(encoding="utf-8")
    probe = tmp_path / "probe.html"
    quoted = page.replace("&", "&amp;").replace('"', "&quot;")
    probe.write_text(_PROBE.format(page=quoted), encoding="utf-8")
    command = [
        *(_BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"),
        *("--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}"),
        *("--virtual-time-budget=5000", f"file://{probe}"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240)
    found = json.loads(unescape(done.stdout.split('<pre id="found">')[1].split("</pre>")[0]))
    assert found["width"] == 390
    assert found["needed"] <= 390
    assert found["errors"] == []
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert found["is_still"]
    assert found["rotates"]
    assert found["ends"]
    assert found["charts"] == 16  # 2 curves, 2 parities, 2 traces and 10 structures
