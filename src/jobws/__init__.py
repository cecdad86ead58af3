"""jobws tells browsers and Python programs what happens to BullMQ jobs, immediately and without loss.

Layers, from the bottom; each may import only what stands above it in this list::

    errors         the exception tree
    turn           long work in short steps
    protocol       PURE: what goes over the wire
    redis          connections, logins, Sentinels; the log stream
    bullmq         what BullMQ keeps in Redis; `streams` reads its event streams
    hub            SYNC, in memory: from an event, or a line, to the clients that want it
    logs           a `logging.Handler` for programs that write logs; light
    server         the ASGI app and its server
    client         Python client; shares only errors and protocol with the server
    sync           the same client without `await`
    embedded       a private Redis, for the demo and for tests
    demo, cli      what is started

A *log* is one of two things. *The log* is what programs say, in one stream for all of them: packages called `log`.
*A job's log* is the list that its worker writes with `job.log()`: modules and packages called `job_log`.

`tests/test_layers.py` holds the layers.
"""
