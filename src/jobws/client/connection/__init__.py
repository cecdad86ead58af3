"""The client's connection. `reconnecting` opens a `transport` with a `token`. After a loss, `backoff` says when."""
