"""The command line: `commands` has one function per command, `run` runs one and says what went wrong.

`watch` and `follow` are what `jobws watch` and `jobws logs` show.
"""
