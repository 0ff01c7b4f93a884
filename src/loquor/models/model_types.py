"""What config.json calls the families, in its `model_type`."""

REALTIME_TYPE = "vibevoice_streaming"
LONGFORM_TYPE = "vibevoice"
VITA_TYPE, VITA_PLUS_TYPE = "qwen2_mtp", "qwen2_mtp_sensevoice"
