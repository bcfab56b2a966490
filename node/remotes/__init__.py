"""`remote`, `fetch` and `push`: histories, and what people publish, between nodes. docs/REMOTES.md says how.

A name points at a commit or at a signed record (`published`). A `source` answers what names it has and gives commits, records and
blobs: another node (`peer`), a home on this machine (`home`), or a bundle (`bundled`). `receive` brings what a name needs into a
store, each piece verified, and `landing` then moves the name, by compare-and-set. A push is a fetch by the other side.
"""
