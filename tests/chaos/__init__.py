"""Real workers end jobs while things break at random, and every client must end with each outcome: `make chaos`."""
