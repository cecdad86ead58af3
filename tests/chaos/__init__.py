"""The chaos test (`make chaos`): real workers do jobs while things break at random.

Every client must get each outcome.
"""
