"""From an event to the connections that want it: synchronous, in memory, without a clock."""
