"""What clients of ElevenLabs' speech ask for, answered by ours; fields as in version 2.78 of their Python package."""
