"""Decides who a client is and what it may do, from tokens, keys and scopes. Pure.

`carrier` finds the token of a request. `authenticator` says who holds it: `jwt` verifies JSON Web Tokens with the keys
of `key_set`, and `static_tokens` finds random tokens in a list. `scope` parses the rights of a token. `identity` and
`visible` say what a client may do and see. `caller` is what the endpoints get of all this.

No function here reads a file, a clock or a socket: callers pass the time and the bytes.
"""
