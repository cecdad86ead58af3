"""Reading BullMQ's event streams, from the first look at a queue on, without missing an entry.

`discovery` finds the queues, `reader` reads on in their streams, `read_state` holds how far one was read, `gap_check`
notices what was trimmed unread, and `backfill` reads what was there before.
"""
