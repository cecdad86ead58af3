"""Following the log: `feed` makes lines of what the bridge sends, `iterator` is what the user takes them from."""
