"""PURE: who a client is and what it may do. Tokens, keys and scopes.

No function here reads a file, a clock or a socket: callers pass the time and the bytes.
"""
