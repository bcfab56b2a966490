"""The web dashboard: a page that any node can serve, from a process of its own, and the same page as static files.

    reader   store (read-only) and control socket → `State`        blocking, in one thread
    feed     one reader, many watchers: states become deltas       asyncio
    app      routes; `guard` decides who may look                  Starlette on uvicorn
    page     the HTML with a state inside, one script of all modules; `export` writes them into a folder
    static/  the page: HTML, CSS, ES modules, as written

The daemon is only asked two short questions every couple of seconds while somebody looks, and never waits for a browser.
"""
