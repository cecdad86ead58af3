"""Decides who a client is and what it may do, from tokens, keys and scopes. Pure.

`authenticator` says who holds a token: `jwt` verifies JSON Web Tokens, and `static_tokens` finds random ones in a list.
`scope` parses the rights of a token, and `carrier` finds the token of a request.

No function here reads a file, a clock or a socket: callers pass the time and the bytes.
"""
