import json
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from browser import needs_browser, opened, title_of
from evaluation.systems import case, report
from loquor.evaluation.media import contour_points, spectrogram_uri
from loquor.evaluation.page import write_page
from loquor.evaluation.performance import Cache, Performance

RATE_HZ = 24_000
EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report of four cases, of which three have sound, one of them a fault, and one a text that is an attack."""
    folder = tmp_path_factory.mktemp("page")
    cache = Cache(folder / "cache")
    tone = (0.3 * np.sin(np.arange(RATE_HZ) / 20)).astype(np.float32)
    for key in ("fine", "wrong", "broken"):
        cache.save(key, Performance(seconds=1.0, sample_rate_hz=RATE_HZ), tone)
    cases = [
        replace(case("fine", mos=3.5, pitch_hz=200.0, words_per_minute=150.0, first_audio_ms=90.0), key="fine"),
        replace(
            case("wrong", errors=2, mos=3.0, pitch_hz=210.0, words_per_minute=170.0, first_audio_ms=80.0), key="wrong"
        ),
        replace(case("broken", fault=1.0), key="broken", faults={"silence": "2.0 s without sound"}),
        replace(case("evil", errors=4), text=EVIL, heard=EVIL, pairs=((EVIL, None),), error=EVIL),
    ]
    path = folder / "report.html"
    write_page(report(cases, model=EVIL, cache=cache.folder), path, players=3)
    return path


class Addresses(HTMLParser):
    """What a page would fetch, by kind."""

    def __init__(self):
        super().__init__()
        self.kinds = set()

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in {"src", "href", "xlink:href", "action"} and not value.startswith("#"):
                self.kinds.add(value.partition(",")[0].partition(";")[0])


def test_the_page_holds_all_it_needs(page):
    found, text = Addresses(), page.read_text(encoding="utf-8")
    found.feed(text)
    assert found.kinds == {"data:", "data:image/png", "data:audio/mpeg"}
    assert "default-src 'none'" in text


def test_texts_are_shown_and_never_run(page):
    text = page.read_text(encoding="utf-8")
    assert EVIL not in text
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in text


def test_only_the_worst_cases_can_be_heard(page):
    assert page.read_text(encoding="utf-8").count("<audio") == 2  # of three, one has no sound


@needs_browser
def test_in_a_browser_players_can_play_and_cases_can_be_found(page):
    script = """
      const seen = { errors: [] };
      addEventListener("securitypolicyviolation", (event) => seen.errors.push(event.blockedURI));
      setTimeout(() => {
        seen.durations = [...document.querySelectorAll("audio")].map((player) => Math.round(player.duration));
        seen.pictures = [...document.querySelectorAll(".picture img")].map((image) => image.naturalWidth > 100);
        seen.plots = [...document.querySelectorAll("figure svg")].filter((plot) => plot.getBBox().height > 50).length;
        seen.first = document.querySelector("article").dataset.id;
        const find = document.getElementById("wrong");
        find.click();
        seen.wrong = document.getElementById("count").textContent;
        document.getElementById("order").value = "id";
        document.getElementById("order").dispatchEvent(new Event("input"));
        seen.ordered = [...document.querySelectorAll("article:not([hidden])")].map((item) => item.dataset.id);
        document.title = JSON.stringify(seen);
      }, 1500);
    """
    seen = json.loads(title_of(opened(page, script)))
    assert seen == {
        "errors": [],
        "durations": [1, 1],
        "pictures": [True, True],
        "plots": 4,  # error rate, opinion, pitch over pace, first audio
        "first": "evil",
        "wrong": "3 of 4",
        "ordered": ["broken", "evil", "wrong"],
    }


def test_a_spectrogram_shows_where_in_time_a_tone_is():
    from base64 import b64decode
    from io import BytesIO

    from PIL import Image

    tone = np.sin(2 * np.pi * 2000 * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32)
    tone[: RATE_HZ // 2] = 0
    data = b64decode(spectrogram_uri(tone, RATE_HZ).partition(",")[2])
    shades = np.asarray(Image.open(BytesIO(data)))[::-1]  # 8 kHz in 128 rows
    assert shades[32, 400] > 200
    assert shades[32, 100] < 50
    assert shades[32, 400] > shades[100, 400] + 50


def test_a_contour_is_broken_where_there_is_no_pitch():
    hertz = np.array([100.0, 200.0, np.nan, 400.0])
    assert contour_points(np.arange(4.0), hertz, 4.0) == ["0.0,80.0 250.0,60.0", "750.0,20.0"]
