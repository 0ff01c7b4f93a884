"""What tests of the server share; see `server_fixtures`."""

from realtime_client import by_loudness, slow_talker, talker
from server_fixtures import own_voices, paced, serve, speaker, talkative, toy_folder

__all__ = ["by_loudness", "own_voices", "paced", "serve", "slow_talker", "speaker", "talkative", "talker", "toy_folder"]
