"""What tests of the server share; see `server_fixtures`."""

from server_fixtures import own_voices, serve, speaker, talkative, toy_folder

__all__ = ["own_voices", "serve", "speaker", "talkative", "toy_folder"]
