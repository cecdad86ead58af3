"""Staying connected: `reconnecting` keeps one connection alive, on a `transport`, with a `token`, after a `backoff`."""
