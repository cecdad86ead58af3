"""The same over HTTP: one file per kind of request, wired in `routes`.

`request` reads what was asked, `problems` says what is wrong with it, `service` is what the endpoints need of the
bridge, `openapi` describes them all, `static` is the JavaScript.
"""
