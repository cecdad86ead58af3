"""A client's subscriptions to jobs: `subscriptions` decides what to ask for and whom a frame is for. Mostly pure.

`iterators` are what the user takes outcomes and events from, `inbox` is what waits for one of them.
"""
