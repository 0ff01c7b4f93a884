"""`loquor chat --mic`: turns from the microphone, answers to the loudspeaker, until the microphone ends or Ctrl-C."""

from __future__ import annotations

import time

import typer

from loquor.audio import Waveform
from loquor.cli.answers import Answers
from loquor.cli.microphone import SAMPLE_RATE_HZ, Microphone, open_microphone
from loquor.cli.player import Player, open_player
from loquor.engine.turn_detector import SpeechBegan, SpeechEnded, TurnDetector, TurnEvent

POLL_S = 0.02


def converse(answers: Answers, barge_in: bool) -> None:
    """Listen and answer. Without `barge_in` what is heard during an answer is dropped: it would be the answer."""
    detector = TurnDetector(SAMPLE_RATE_HZ)
    with open_microphone() as microphone:
        typer.echo("listening; Ctrl-C ends", err=True)
        conversation = MicrophoneConversation(answers, microphone, detector, barge_in)
        for block in microphone:
            conversation.hear(detector.push(block))
        conversation.hear(detector.finish())


class MicrophoneConversation:
    """What is done with the turns that are heard."""

    def __init__(self, answers: Answers, microphone: Microphone, detector: TurnDetector, barge_in: bool) -> None:
        self._answers, self._microphone, self._detector, self._barge_in = answers, microphone, detector, barge_in

    def hear(self, events: list[TurnEvent]) -> None:
        """Answer every turn that has ended."""
        waiting = list(events)
        while waiting:
            event = waiting.pop(0)
            if isinstance(event, SpeechEnded):
                waiting += self._answer(event.waveform)

    def _answer(self, question: Waveform) -> list[TurnEvent]:
        """Say an answer; gives what was heard meanwhile, and stops when somebody began to speak."""
        reply, heard = self._answers.ask((question, SAMPLE_RATE_HZ)), list[TurnEvent]()
        with open_player(self._answers.converser.sample_rate_hz) as player:
            for chunk in reply:
                self._answers.outlet.print(chunk.text)
                if len(chunk.waveform):
                    player.write(chunk.waveform.cpu().numpy())
                heard += self._meanwhile()
                if _has_begun(heard):
                    break
            heard += self._until_played(player, heard)
            if _has_begun(heard):
                reply.interrupt(player.played_s)
                player.stop()
        self._answers.outlet.print("\n")
        self._answers.report(reply, None)
        if not self._barge_in:
            self._microphone.waiting()
            self._detector.forget()
        return heard

    def _until_played(self, player: Player, heard: list[TurnEvent]) -> list[TurnEvent]:
        """Wait for the last sample, or for somebody to begin."""
        more: list[TurnEvent] = []
        while player.is_playing and not _has_begun([*heard, *more]):
            time.sleep(POLL_S)
            more += self._meanwhile()
        return more

    def _meanwhile(self) -> list[TurnEvent]:
        """What was heard since we last asked, if we listen while we speak."""
        blocks = self._microphone.waiting() if self._barge_in else []
        return [event for block in blocks for event in self._detector.push(block)]


def _has_begun(events: list[TurnEvent]) -> bool:
    return any(isinstance(event, SpeechBegan) for event in events)
