"""The client's connection. `reconnecting` opens a `transport` with a `token`. `backoff` times its attempts."""
