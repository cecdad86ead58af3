"""The HTTP interface of protocol.md §9: one module for each kind of request, and `routes` with the routes to them.

`rights` has the right of each route. `request` reads requests strictly, `problems` makes the responses to errors,
`service` is what the endpoints need of the bridge, and `openapi` describes them. `page` serves the page, and `static`
the JavaScript adapter and the custom elements.
"""
