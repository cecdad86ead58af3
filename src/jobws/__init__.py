"""jobws tells browsers and Python programs what happens to BullMQ jobs, immediately and without loss.

The layers, from the lowest one. Each may import only layers above it in this list, and `tests/test_layers.py` checks
that::

    errors         the exceptions
    tokens         makes tokens, with the standard library only
    turn           long work in short steps
    protocol       PURE: the messages, and the rules for them
    access         PURE: tokens, keys and scopes; what a client may do
    privacy        PURE: what clients are not shown
    redis          connections, logins, Sentinels; the log stream
    bullmq         what BullMQ keeps in Redis; `reading` reads its event streams
    hub            SYNC, in memory: finds the clients that want an event or a line
    logs           a `logging.Handler` for programs that write logs
    server         the ASGI app and its server
    client         the Python client; shares only errors and protocol with the server
    sync           the same client without `await`
    embedded       a private Redis, for the demo and for tests
    demo, cli      the programs

There are two kinds of logs. *The log* is one stream with lines of all programs; its packages are called `log`. *A job's
log* is the list of lines that its worker writes with `job.log()`; modules and packages for it are called `job_log`.
"""
