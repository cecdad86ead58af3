"""Tests that send what nobody would write: tokens, scopes and frames that are valid, nearly valid, or neither.

`make fuzz` tries 10,000 inputs with each test, or 2,000 random walks of a client with up to twenty steps.
`make test` tries 100 of either.
"""
