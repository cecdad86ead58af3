"""jobws tells browsers and Python programs what happens to BullMQ jobs, at once and without loss.

Layers, from the bottom; each may import only what stands above it in this list::

    errors         the exception tree
    protocol       PURE: what goes over the wire
    bullmq         what BullMQ keeps in Redis, and the log stream beside it
    hub            SYNC, in memory: from an event, or a line, to the connections that want it
    logs           a `logging.Handler` for programs that write logs; light
    server         the ASGI app and its server
    client         Python client; shares only errors and protocol with the server
    sync           the same client without `await`
    watch, follow  what `jobws watch` and `jobws logs` show
    embedded       a private Redis, for the demo and for tests
    demo, cli      what is started

A *log* is one of two things. *The log* is what programs say, in one stream for all of them: modules `log_…` and `logs`.
*A job's log* is the list that its worker writes with `job.log()`: modules `job_line…` and `http_job_logs`.

`tests/test_layers.py` holds the layers.
"""
