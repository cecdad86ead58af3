"""A client's subscriptions to jobs. `subscriptions` makes requests and finds the subscription of each frame.

`iterators` yield outcomes and events to the user. An `inbox` waits for their items. All other modules are pure.
"""
