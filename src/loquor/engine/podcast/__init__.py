"""Production of an episode: a script and its voices, take by take, to one recording."""
