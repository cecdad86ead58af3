"""The command line: `commands` has a function for each command, and `run` runs one and reports errors.

`watch` and `follow` display what `jobws watch` and `jobws logs` show.
"""
