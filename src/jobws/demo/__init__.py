"""A worker that does real work, and the walk that shows it."""
