"""From an event, or a line of a log, to the clients that want it: synchronous, in memory, without a clock.

`client` is what all clients have in common, `outbox` what waits for one of them. `jobs` is about events of jobs,
`job_log` about the lines that a worker writes for its job, `log` about the log that all programs share.
"""
