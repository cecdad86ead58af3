"""Reads BullMQ's event streams without missing an entry.

`discovery` finds the queues. `reader` reads their streams, `schedule` decides which stream is read when, and `pace`
measures how fast a stream grows. `unblock` ends a blocked read early. `read_state` holds how far a stream was read.
`gap_check` asks Redis whether entries were lost before they were read, and `bullmq.lost_entries.hole` decides.
`backfill` reads what a stream held before reading began.
"""
