"""What tests of plug-ins share: the toy of the server's tests."""

from server_fixtures import own_voices, paced, speaker, toy_folder

__all__ = ["own_voices", "paced", "speaker", "toy_folder"]
