"""The client's connection: `reconnecting` opens a `transport` with a `token`, and again after a `backoff`."""
