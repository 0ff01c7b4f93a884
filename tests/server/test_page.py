"""The page at `/` in a real browser, which talks to a real server with the embedded voice."""

import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
import soundfile

import loquor
from browser import CHROMIUM, needs_browser
from loquor.audio.provenance import comment_of
from loquor.engine.dialogue import DialogueSpeaker
from loquor.server.service import Limits
from server_fixtures import LONG, servers, within
from toy_longform import write_toy

pytestmark = needs_browser
playwright = pytest.importorskip("playwright.sync_api", reason="the page is tested with playwright: the extra dev")

TEXT = "You hear one word after another."
FLAGS = [
    "--no-sandbox",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
DESK = {"viewport": {"width": 1200, "height": 800}, "locale": "en-GB"}
PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
AUDITS = (Path(__file__).parent / "page_audits.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def voice():
    return loquor.load()


@pytest.fixture(scope="module")
def server(voice, tmp_path_factory):
    with servers(tmp_path_factory.mktemp("page")) as start:
        yield start(voice)


@pytest.fixture(scope="module")
def browser(voice, tmp_path_factory):
    """A browser whose microphone hears the embedded voice."""
    heard = tmp_path_factory.mktemp("microphone") / "heard.wav"
    speech = voice.speak("This is what the microphone hears, again and again.")
    speech.save(heard)
    with playwright.sync_playwright() as driver:
        flags = [*FLAGS, f"--use-file-for-fake-audio-capture={heard}"]
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, server):
    """Opens the page; when the test is over nothing may have gone wrong on it, and nobody else been asked."""
    contexts, wrong, hosts, ours = [], [], set(), {""}  # blobs have no host

    def opened(url=server.url, **options):
        context = browser.new_context(**DESK | options)
        contexts.append(context)
        ours.add(urlsplit(url).netloc)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
        page.on("websocket", lambda socket: hosts.add(urlsplit(socket.url).netloc))
        page.goto(url)
        until(page, "document.querySelector('#voice option') || document.querySelector('#problem').textContent")
        return page

    opened.wrong = wrong
    yield opened
    for context in contexts:
        context.close()
    assert wrong == []
    assert hosts <= ours


@pytest.fixture(scope="module")
def scratch(browser, server):
    """A page whose modules can be tried out."""
    page = browser.new_page()
    page.goto(server.url)
    return page


def until(page, fact, timeout_s=60):
    """Wait for a fact, in JavaScript; the page's own policy lets nothing be evaluated inside it for longer."""
    for _ in range(int(timeout_s / 0.02)):
        if page.evaluate(fact):
            return
        page.wait_for_timeout(20)
    pytest.fail(f"not within {timeout_s} s: {fact}; the page says: {page.inner_text('body')}")


def until_state(page, state):
    until(page, f"document.body.dataset.state === '{state}'")


def sent_by(page):
    """What the page will send over WebSockets."""
    frames = []

    def note(frame):  # playwright marks its listeners, which `append` does not let it
        frames.append(frame)

    page.on("websocket", lambda socket: socket.on("framesent", note))
    return frames


def test_the_page_may_ask_nobody_but_its_server_and_is_sent_once(server):
    first = httpx.get(f"{server.url}/", timeout=60)
    again = httpx.get(f"{server.url}/", headers={"If-None-Match": first.headers["etag"]}, timeout=60)
    assert "default-src 'none'" in first.headers["content-security-policy"]
    assert "unsafe" not in first.headers["content-security-policy"]
    assert (again.status_code, again.content) == (304, b"")
    assert httpx.get(f"{server.url}/page/player.js", timeout=60).headers["content-type"].startswith("text/javascript")
    assert httpx.get(f"{server.url}/page/..%2Fapp.py", timeout=60).status_code == 404


def test_words_light_up_in_order_as_they_are_heard_and_the_speech_can_be_kept(visit, server, tmp_path):
    page = visit()
    page.evaluate("""() => {
      window.lit = [];
      new MutationObserver(() => {
        const word = document.querySelector(".now")?.textContent;
        if (word && word !== lit.at(-1)) lit.push(word);
      }).observe(document.getElementById("text-field"), { subtree: true, attributeFilter: ["class"] });
    }""")
    page.fill("#text", TEXT)
    page.click("#speak")
    until_state(page, "speaking")
    assert page.inner_text("#speak") == "Stop"
    until_state(page, "finished")
    words, lit = TEXT.split(), page.evaluate("lit")
    assert [word for word in words if word in lit] == lit
    assert len(lit) >= 4  # a busy machine may draw too seldom to show the shortest
    assert re.fullmatch(r"[1-9]\d* ms", page.inner_text("#first-audio"))
    assert float(page.inner_text("#rtf")) > 0

    with page.expect_download() as download:
        page.click("#save")
    download.value.save_as(tmp_path / "kept.wav")
    kept, rate = soundfile.read(tmp_path / "kept.wav", dtype="int16")
    asked = {"model": "loquor", "input": TEXT, "voice": page.input_value("#voice"), "response_format": "pcm"}
    told = httpx.post(f"{server.url}/v1/audio/speech", json=asked, timeout=60).content
    assert rate == 24_000
    np.testing.assert_array_equal(kept, np.frombuffer(told, "<i2"))
    assert "AI-generated" in comment_of(tmp_path / "kept.wav")


def test_chunks_are_played_without_a_gap_or_a_seam(scratch):
    """The browser's own mixer, run offline, gives exactly the samples that were pushed."""
    first, wrong, after = scratch.evaluate("""async () => {
      window.AudioContext = class extends OfflineAudioContext {
        constructor({ sampleRate }) { super(1, 2 * sampleRate, sampleRate); }
        resume() { return Promise.resolve(); }
      };
      const { Player } = await import("/page/player.js");
      const player = new Player();
      const all = Float32Array.from({ length: 24000 }, (_, i) => Math.fround(Math.sin(i / 7)));
      player.wake(24000);
      const context = player.context;
      player.play();
      for (let at = 0, length = 1; at < all.length; at += length, length = 1 + ((7 * length + 300) % 3200))
        player.push(all.slice(at, at + length));
      player.end();
      const rendered = (await context.startRendering()).getChannelData(0);
      player.pause();
      const first = rendered.findIndex((sample) => sample) - 1; // the sine begins with a zero
      const wrong = all.filter((sample, i) => sample !== rendered[first + i]).length;
      return [first, wrong, rendered.subarray(first + all.length).filter((sample) => sample).length];
    }""")
    assert 0 < first < 0.1 * 24_000
    assert (wrong, after) == (0, 0)


def test_speech_follows_the_keyboard(visit):
    page = visit()
    frames = sent_by(page)
    page.check("#live")
    page.fill("#text", "")
    page.focus("#text")
    page.keyboard.type("Say it no")
    until(page, "document.body.dataset.state === 'connecting'")
    page.keyboard.type("w ")
    until(page, "document.querySelectorAll('.said').length >= 2")
    until_state(page, "finished")
    texts = [frame for frame in frames if "input.text" in frame]
    assert [re.search(r'"text":"(.*)"', frame)[1] for frame in texts] == ["Say ", "it ", "now "]


def test_turns_of_a_dialogue_are_said_one_after_the_other_by_their_voices(visit):
    page = visit()
    frames = sent_by(page)
    page.get_by_role("radio", name="Dialogue").check(force=True)
    page.get_by_label("Name of speaker 1").fill("Ann")
    page.get_by_label("Name of speaker 2").fill("Bob")
    page.get_by_label("Turn 1", exact=True).fill("Good morning.")
    page.keyboard.press("Enter")  # a turn between the two, of the other speaker
    page.keyboard.type("Hello.")
    page.click("#speak")
    until(page, "document.getElementById('status').textContent === 'Ann speaks'")
    until(page, "document.getElementById('status').textContent === 'Bob speaks'")
    assert page.evaluate("document.querySelectorAll('.turn')[0].querySelectorAll('.said').length") == 2
    until_state(page, "finished")
    said = [
        re.search(r'"(?:text|voice)":"(.*?)"', frame)[1] for frame in frames if '"text"' in frame or '"voice"' in frame
    ]
    assert said == ["en-Clara_woman", "Good morning.", "en-Martin_man", "Hello."]


def test_a_model_that_reads_scripts_is_sent_the_whole_dialogue_as_one(visit, serve, tmp_path):
    page = visit(serve(DialogueSpeaker.open(write_toy(tmp_path / "model", frames_per_token=0.2))).url)
    frames = sent_by(page)
    page.get_by_role("radio", name="Dialogue").check(force=True)
    page.get_by_label("Turn 1", exact=True).fill("Good\nmorning 🙂.")
    page.get_by_label("Turn 2", exact=True).fill("Hello.")
    page.click("#speak")
    until(page, "document.querySelectorAll('.turn')[1].querySelectorAll('.now, .said').length === 1")
    until_state(page, "finished")
    sent = [json.loads(frame) for frame in frames]
    assert [message["text"] for message in sent if "text" in message] == [
        "Speaker 1: Good morning 🙂.\nSpeaker 2: Hello."
    ]
    assert {"type": "session.config", "cast": {"Speaker 1": "default", "Speaker 2": "default"}} in sent


def test_a_pasted_script_becomes_turns(visit):
    page = visit()
    page.get_by_role("radio", name="Dialogue").check(force=True)
    page.focus(".turn textarea")
    page.evaluate("""() => {
      const data = new DataTransfer();
      data.setData("text", "Ann: Where were you?\\n\\nBob: At home.\\nAnn: Oh.");
      const paste = new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
      document.activeElement.dispatchEvent(paste);
    }""")
    turns = page.evaluate("""[...document.querySelectorAll(".turn")].map((turn) =>
      [turn.querySelector(".who").selectedOptions[0].text, turn.querySelector("textarea").value])""")
    assert turns == [["Ann", "Where were you?"], ["Bob", "At home."], ["Ann", "Oh."]]


def test_a_voice_is_made_of_a_recording_only_with_consent_and_can_be_deleted(visit, server):
    page = visit()
    listed = f"{server.url}/v1/audio/voices"
    page.click("#voices")
    page.fill("#voice-name", "Ada")
    page.click("#record")
    until(page, "Number(document.getElementById('record').dataset.seconds) >= 8")  # a busy machine loses some
    page.click("#record")
    until(page, "document.getElementById('recorded').textContent.includes('recorded')")
    page.click("#voice-make")  # without consent the form is not sent
    assert page.evaluate("document.querySelector('#voice-form :invalid:not(fieldset)').id") == "agreed"
    page.check("#agreed")
    page.fill("#consent", "Ada Smith agreed to this test")
    page.click("#voice-make")
    until(page, "!document.getElementById('voice-dialog').open")
    made = next(voice for voice in httpx.get(listed, timeout=60).json()["voices"] if voice["uploaded"])
    assert (made["name"], page.input_value("#voice")) == ("Ada", made["id"])
    assert page.inner_text("#status") == "Ada can speak now."

    page.click("#voices")
    page.get_by_role("button", name="Delete Ada").click()
    page.get_by_role("button", name="Delete Ada for good?").click()
    until(page, "document.getElementById('own-voices').childElementCount === 0")
    assert not any(voice["uploaded"] for voice in httpx.get(listed, timeout=60).json()["voices"])


def test_all_can_be_done_by_keyboard(visit, server):
    page = visit()
    order = []
    for _ in range(13):
        page.keyboard.press("Tab")
        order.append(
            page.evaluate(
                "document.activeElement.id || document.activeElement.className || document.activeElement.value"
            )
        )
    assert order[:9] == ["skip", "text", "language", "theme", "text", "live", "speak", "voice", "voices"]
    page.focus("#text")
    page.keyboard.press("Control+a")
    page.keyboard.type(" ".join([TEXT] * 5))
    page.keyboard.press("Control+Enter")
    until_state(page, "speaking")
    page.keyboard.press("Escape")
    until_state(page, "stopped")
    assert within(10, lambda: not server.service.admission.running)
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")
    page.keyboard.press("Control+Enter")
    assert "write a word first" in page.get_by_role("alert").inner_text()


def test_in_persian_the_page_runs_from_right_to_left_with_persian_digits(visit):
    page = visit(locale="fa-IR")
    assert page.evaluate("[document.documentElement.lang, document.documentElement.dir]") == ["fa", "rtl"]
    assert page.inner_text("#speak") == "بخوان"
    assert "انگلیسی" in page.text_content("#voice")  # the voice's language
    page.fill("#text", "Yes.")
    page.click("#speak")
    until_state(page, "finished")
    assert re.fullmatch(r"[۰-۹]+ م‌ث", page.inner_text("#first-audio"))
    page.click("#settings summary")
    page.fill("#steps", "۵")
    page.fill("#guidance", "۱٫۵")
    frames = sent_by(page)
    page.click("#speak")
    until(page, "document.body.dataset.state === 'speaking'")
    assert '"guidance":1.5,"steps":5' in frames[0]
    page.click("#speak")
    page.click("#language")
    assert page.evaluate("[document.documentElement.lang, document.documentElement.dir]") == ["en", "ltr"]
    assert page.inner_text("#status") == "Stopped"
    assert "English" in page.text_content("#voice")


def test_every_sentence_of_the_page_exists_in_both_languages(scratch):
    kinds = scratch.evaluate("""async () => {
      const named = (text) => [...text.matchAll(/{\\w+}/g)].map(String).sort().join();
      const files = await Promise.all([import("/page/en.js"), import("/page/fa.js")]);
      return files.map(({ default: words }) => Object.entries(words).map(([key, text]) => [key, named(text)]).sort());
    }""")
    assert kinds[0] == kinds[1]


def test_everything_is_named_and_can_be_read_in_the_light_and_in_the_dark(visit):
    page = visit()
    page.evaluate(AUDITS)
    for opens in ("#settings summary", "#modes label:last-of-type", "#voices"):
        page.click(opens)
        assert page.evaluate("unnamed()") == []
        for scheme, is_dark in (("light", False), ("dark", True)):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # colours change at once
            assert page.evaluate("isDark()") == is_dark
            assert page.evaluate("faint()") == []
    assert page.evaluate("crooked()") == []


def test_the_switch_overrides_the_device_and_is_remembered(visit):
    page = visit(color_scheme="light")
    page.click("#theme")
    page.click("#theme")
    assert page.inner_text("#theme") == "Colours: dark"
    page.reload()
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"


def test_on_a_phone_nothing_is_cut_off_at_the_side_or_too_small_for_a_finger(visit):
    page = visit(**PHONE)
    page.evaluate(AUDITS)
    page.fill("#text", "A" * 80 + " " + TEXT)
    for opens in ("#settings summary", "#language", "#modes label:last-of-type", "#voices"):
        page.click(opens)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate("tiny()") == []


def test_a_key_is_asked_for_where_one_is_needed_and_forgotten_with_the_tab(visit, serve, speaker):
    server = serve(speaker, keys={"ada": {}})
    page = visit(server.url)
    page.get_by_label("This server asks for an API key").fill("wrong")
    page.keyboard.press("Enter")
    until(page, "document.getElementById('problem').textContent.includes('does not know')")
    page.fill("#key", server.keys["ada"])
    page.keyboard.press("Enter")
    until(page, "document.getElementById('key-form').hidden")
    page.fill("#text", TEXT)
    page.click("#speak")
    until_state(page, "finished")
    kept = page.evaluate(
        "[JSON.stringify({ ...sessionStorage }), JSON.stringify({ ...localStorage }), document.cookie]"
    )
    assert [server.keys["ada"] in place for place in kept] == [True, False, False]
    visit.wrong[:] = [message for message in visit.wrong if "401" not in message]  # the browser's own words


def test_waiting_and_being_refused_are_told(visit, serve, talkative):
    server = serve(talkative, Limits(slots=1, queue=1))
    first, second, third = (visit(server.url) for _ in range(3))
    for page in (first, second, third):
        page.fill("#text", LONG[:400])
    first.click("#speak")
    until_state(first, "speaking")
    second.click("#speak")
    until(second, "document.getElementById('status').textContent === 'You are next'")
    third.click("#speak")
    until(third, "document.getElementById('problem').textContent.startsWith('The server is busy')")
    first.click("#speak")
    until_state(second, "speaking")
