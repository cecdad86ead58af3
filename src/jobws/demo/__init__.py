"""A worker that does real work for the four default queues."""
