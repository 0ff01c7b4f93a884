"""What VITA-Audio learns from, and its losses."""
