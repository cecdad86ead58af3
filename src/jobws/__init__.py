"""jobws tells browsers and Python programs what happens to BullMQ jobs, at once and without loss.

Layers, from the bottom; each may import only what stands above it in this list::

    errors      the exception tree
    protocol    PURE: what goes over the wire
    bullmq      what BullMQ keeps in Redis
    hub         SYNC, in memory: from an event to the connections that want it
    logs        a `logging.Handler` for programs that write logs; light
    server      the ASGI app and its server
    client      Python client; shares only errors and protocol with the server
    sync        the same client without `await`

`tests/test_layers.py` holds them.
"""
