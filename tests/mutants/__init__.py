"""Mutants of the hub: small faults put into its code, one at a time, which its pure tests must find (`make mutate`)."""
