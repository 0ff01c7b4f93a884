"""OpenAI's Realtime API (general availability names): a conversation, or texts to be said, over one WebSocket."""
