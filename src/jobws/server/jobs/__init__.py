"""The tasks that read events of jobs for the hub, and look up in Redis what subscriptions need.

`queue_readers` reads the streams of all queues. `endpoint` looks up the jobs of new subscriptions. `reading_back` reads
and delivers past events that subscriptions missed. `sweep` finds outcomes that have no event. `progress_timer` has
merged progress sent when its windows end. `job_log_poller` reads the log lines of jobs when `job_log_schedule` says
so.
"""
