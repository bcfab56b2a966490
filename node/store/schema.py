"""The index's tables. Commits, payloads and snapshots are blobs; the index says which blobs are what.

A version of the schema is the first one and the migrations up to it, run in order. Migrations only add tables: an older store
that is opened for reading gets them empty, for that connection alone.
"""

APPLICATION = 0x434F4C4C  # "COLL": so that `file` and we know the database for ours

SCHEMA = """
CREATE TABLE commits (
    digest BLOB PRIMARY KEY CHECK (length(digest) = 32),
    round  INTEGER NOT NULL CHECK (round >= 0),
    parent BLOB CHECK (length(parent) = 32)
) STRICT, WITHOUT ROWID;
CREATE INDEX commits_of_round ON commits (round);

-- The first-parent chain that ends at the head.
CREATE TABLE chain (
    round    INTEGER PRIMARY KEY,
    "commit" BLOB NOT NULL UNIQUE REFERENCES commits (digest)
) STRICT;

CREATE TABLE certificates (
    "commit" BLOB PRIMARY KEY CHECK (length("commit") = 32),
    body     BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE refs (
    name     TEXT PRIMARY KEY,
    "commit" BLOB NOT NULL REFERENCES commits (digest)
) STRICT, WITHOUT ROWID;

CREATE TABLE snapshots (
    "commit" BLOB PRIMARY KEY REFERENCES commits (digest),
    blob     BLOB NOT NULL CHECK (length(blob) = 32),
    size     INTEGER NOT NULL CHECK (size > 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE contributions (
    digest   BLOB PRIMARY KEY CHECK (length(digest) = 32),
    base     BLOB NOT NULL,
    round    INTEGER NOT NULL,
    envelope BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX contributions_on ON contributions (base);

CREATE TABLE voting (
    base  BLOB PRIMARY KEY CHECK (length(base) = 32),
    round INTEGER NOT NULL,
    state BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE notes (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
"""

MIGRATIONS = (
    # 2: annotations of tags (what a tag points at stands in refs), and the second parents of merge commits.
    """
CREATE TABLE tags (
    name   TEXT PRIMARY KEY,
    record BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE merged (
    "commit" BLOB PRIMARY KEY CHECK (length("commit") = 32),
    parent   BLOB NOT NULL CHECK (length(parent) = 32)
) STRICT, WITHOUT ROWID;
""",
    # 3: proposals. (Which commits merged them is asked of the commits; `"commit"` is of earlier versions.)
    """
CREATE TABLE proposals (
    digest   BLOB PRIMARY KEY CHECK (length(digest) = 32),
    envelope BLOB NOT NULL,
    "commit" BLOB CHECK (length("commit") = 32)
) STRICT, WITHOUT ROWID;
""",
    # 4: amendments of the event.
    """
CREATE TABLE amendments (
    digest BLOB PRIMARY KEY CHECK (length(digest) = 32),
    number INTEGER NOT NULL,
    body   BLOB NOT NULL
) STRICT, WITHOUT ROWID;
""",
    # 5: what peers signed about versions.
    """
CREATE TABLE verdicts (
    digest    BLOB PRIMARY KEY CHECK (length(digest) = 32),
    candidate BLOB NOT NULL CHECK (length(candidate) = 32),
    envelope  BLOB NOT NULL
) STRICT, WITHOUT ROWID;
""",
    # 6: which commits carry verdicts, which of the others came over the network, and which are not to count.
    """
CREATE TABLE carried (
    candidate BLOB NOT NULL CHECK (length(candidate) = 32),
    digest    BLOB NOT NULL CHECK (length(digest) = 32),
    "commit"  BLOB NOT NULL REFERENCES commits (digest),
    PRIMARY KEY (candidate, digest, "commit")
) STRICT, WITHOUT ROWID;

CREATE TABLE heard (
    digest BLOB PRIMARY KEY REFERENCES verdicts (digest),
    signer TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE dropped (
    digest BLOB PRIMARY KEY CHECK (length(digest) = 32)
) STRICT, WITHOUT ROWID;
""",
)

VERSION = 1 + len(MIGRATIONS)
