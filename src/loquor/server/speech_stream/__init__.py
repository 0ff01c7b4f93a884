"""Our own WebSocket: text goes in as it comes, speech comes out as it is made, with the times of its words."""
