"""The tasks that feed the hub with events of jobs, and fetch what subscriptions need of Redis.

`queue_readers` reads all queues, `subscribe` looks up what is asked for, `reading_back` gives what was missed, `sweep`
finds ends that no event tells of, `job_log_poller` reads jobs' lines.
"""
