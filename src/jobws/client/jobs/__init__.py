"""A client's subscriptions to jobs. `subscriptions` makes requests and finds the subscription of each frame.

An `inbox` keeps what came, until one of the `iterators` yields it to the user. The other modules do no I/O.
"""
