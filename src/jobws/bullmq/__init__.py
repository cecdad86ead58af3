"""How BullMQ keeps queues and jobs in Redis: its keys, the commands that read them, and what the replies mean.

`events` turns an entry of a stream into the payload that clients get. `snapshot` reads jobs, `store` sends the
queries of many clients together, and `submit` adds jobs with BullMQ's own package. `streams` reads the event streams,
and `stream` decides whether entries of one were lost.
Most of these modules do no I/O.
"""
