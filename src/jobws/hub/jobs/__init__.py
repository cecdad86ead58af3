"""Events of jobs: who is subscribed to which, what each gets, and where a subscription begins.

`fanout` takes events in, `rooms` knows who wants them, `client` takes requests. `pending_subscription` decides where a
subscription begins, `missed` and `replay` give it what happened before, found by `history`.
"""
