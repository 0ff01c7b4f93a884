"""Realtime models in eight bits by OpenVINO, for processors."""
