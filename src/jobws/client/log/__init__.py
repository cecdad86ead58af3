"""Reads the log: `feed` makes lines of the bridge's frames, and `iterator` yields the lines to the user."""
