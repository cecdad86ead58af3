"""The log lines that a worker writes with `job.log()`.

`followers` has the subscriptions that get lines, and how far each was sent. `reader` finds the new lines of a list.
"""
