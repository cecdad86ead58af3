"""What clients are not shown although Redis has it: rules by queue, and what they do to values. Pure.

The rules are those of `--redact`, `--no-results`, `--show-data` and `--show-stacktraces`.
"""
