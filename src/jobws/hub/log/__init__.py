"""Passes lines of the log that all programs share on to the clients of `/logs`.

`broadcaster` has the live subscriptions, `subscription` decides which lines one client gets and counts those that it
missed, `client` serves requests.
"""
