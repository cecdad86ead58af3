"""How BullMQ keeps queues and jobs in Redis: its keys, the commands that read them, and what the replies mean.

`keys` has the names of queues and of their keys, and `keyspace` asks Redis which queues exist. `events` turns an entry
of an event stream into what clients get. `snapshot` reads jobs, `listing` their ids, `overview` whole queues, and
`job_log` the lines that workers write with `job.log()`. `store` sends such queries for many clients together. `submit`
adds jobs with BullMQ's own package. `lost_entries` decides whether entries of a stream were lost, and `reading` reads
the streams. Most of these modules do no I/O.
"""
