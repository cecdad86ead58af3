"""What BullMQ keeps in Redis, and how to read it."""
