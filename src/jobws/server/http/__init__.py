"""The HTTP interface of protocol.md §9: one module for each kind of request, and `routes` with the routes to them.

`request` reads requests strictly, `problems` makes the responses to errors, `service` is what the endpoints need of the
bridge, `openapi` describes them, and `static` serves the JavaScript adapter.
"""
