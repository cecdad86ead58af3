"""Mutants of the hub: small faults that are put into its code, one at a time.

Its pure tests must find them (`make mutate`).
"""
