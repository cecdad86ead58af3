"""What BullMQ keeps in Redis, and the log stream beside it: how to read both."""
