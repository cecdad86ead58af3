"""What BullMQ keeps in Redis: its keys, and what to ask and what the answers mean. Most of it is pure.

`events` turns an entry of a stream into what clients get, `snapshot` reads a job, `store` asks for many together,
`submit` adds jobs with BullMQ's own package. `streams` reads the event streams.
"""
