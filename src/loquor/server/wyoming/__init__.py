"""Wyoming, the protocol of Home Assistant's voice assistants: events over TCP, a line of JSON and then bytes each."""
