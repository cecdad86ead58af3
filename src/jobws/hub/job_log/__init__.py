"""Lines that a worker writes with `job.log()`.

`followers` has who follows which job's lines and how far, `reader` which lines of a list are new.
"""
