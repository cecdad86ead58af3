"""The messages of `/logs`: the `requests` of clients, the `answers` to them, and the `records`, which are its lines."""
