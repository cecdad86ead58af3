"""PURE: who a client is and what it may do. Tokens, keys and scopes.

`authenticator` says who holds a token: `jwt` verifies JWTs, and `static_tokens` finds static ones. `scope` parses
rights, and `carrier` finds the token of a request.

No function here reads a file, a clock or a socket: callers pass the time and the bytes.
"""
