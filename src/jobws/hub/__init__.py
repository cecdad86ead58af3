"""From an event, or a line of the log, to the connections that want it: synchronous, in memory, without a clock."""
