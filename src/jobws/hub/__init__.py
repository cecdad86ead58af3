"""Decides which clients get an event or a log line, and puts its frame into their outboxes.

All code here is synchronous, works in memory and reads no clock of its own. `client` has what all clients have in
common, `outbox` the frames that wait for one client. `jobs` handles events of jobs, `job_log` the lines that a worker
writes with `job.log()`, and `log` the log that all programs share.
"""
