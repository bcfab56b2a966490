"""Names for commits, and the language in which a person speaks of them: that of gitrevisions(7), as far as it fits."""

from .errors import RefError
from .graph import Graph
from .names import HEAD, MAIN, branch_name, check_name, tag_name
from .revision import Range, Revision, parse, resolve
from .tag import SignedTag, Tag
from .walk import ancestors, history, merge_bases, select

__all__ = [
    "HEAD", "MAIN", "Graph", "Range", "RefError", "Revision", "SignedTag", "Tag", "ancestors", "branch_name", "check_name",
    "history", "merge_bases", "parse", "resolve", "select", "tag_name",
]  # fmt: skip
