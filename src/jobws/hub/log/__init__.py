"""Passes on, to the clients of `/logs`, the lines of the log that all programs share.

`broadcaster` has the live subscriptions, `subscription` decides which lines one client gets and counts those that it
missed, `client` serves requests.
"""
