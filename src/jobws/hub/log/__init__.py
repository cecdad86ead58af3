"""Lines of the log that all programs share, to the clients of `/logs`.

`broadcaster` has who gets lines as they happen, `subscription` what one client gets and missed, `client` its requests.
"""
