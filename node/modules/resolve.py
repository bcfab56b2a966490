"""Choosing versions: the newest that fit what everybody requires, by `resolvelib` (pip's resolver)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from resolvelib import AbstractProvider, BaseReporter, ResolutionImpossible, ResolutionTooDeep, Resolver
from resolvelib.structs import RequirementInformation

from ...protocol.module import Requirement
from ...protocol.versions import Version
from ..errors import UserError
from .index import Held, Index

_MOST_ROUNDS = 10_000


def resolve(index: Index, wanted: Sequence[Requirement], keep: Mapping[str, Version]) -> list[Held]:
    """Return the packages that `wanted` and all they require come to, by name; where they still fit, the versions in `keep`.

    Raises UserError that says in a sentence who requires what.
    """
    resolver: Resolver[Requirement, Held, str] = Resolver(_Provider(index, keep), BaseReporter())
    try:
        found = resolver.resolve(wanted, max_rounds=_MOST_ROUNDS)
    except ResolutionImpossible as error:
        raise UserError(_sentence(index, error.causes)) from error
    except ResolutionTooDeep as error:
        raise UserError("the requirements are too many to choose versions for") from error
    return [found.mapping[name] for name in sorted(found.mapping)]


def _sentence(index: Index, causes: Collection[RequirementInformation[Requirement, Held]]) -> str:
    name = next(iter(causes)).requirement.name
    said = sorted({f"{_who(cause.parent)} {cause.requirement}" for cause in causes if cause.requirement.name == name})
    there = ", ".join(str(held.version) for held in index.versions(name)[:8])
    available = f"there are {there}" if there else "there is none in the index"
    return f"no version of {name} fits: {', and '.join(said)}; {available}"


def _who(parent: Held | None) -> str:
    return "you require" if parent is None else f"{parent.package.module.name} {parent.version} requires"


class _Provider(AbstractProvider[Requirement, Held, str]):
    def __init__(self, index: Index, keep: Mapping[str, Version]) -> None:
        self._index = index
        self._keep = keep
        self._versions: dict[str, list[Held]] = {}

    def identify(self, requirement_or_candidate: Requirement | Held) -> str:
        each = requirement_or_candidate
        return each.name if isinstance(each, Requirement) else each.package.module.name

    def get_preference(
        self, identifier: str, resolutions: Mapping[str, Held],
        candidates: Mapping[str, Iterator[Held]],
        information: Mapping[str, Iterator[RequirementInformation[Requirement, Held]]],
        backtrack_causes: Sequence[RequirementInformation[Requirement, Held]],
    ) -> Any:  # fmt: skip
        # What was in conflict comes first, so that little is tried in vain; then by name, so that the result is always the same.
        return identifier not in {self.identify(cause.requirement) for cause in backtrack_causes}, identifier

    def find_matches(
        self, identifier: str, requirements: Mapping[str, Iterator[Requirement]], incompatibilities: Mapping[str, Iterator[Held]]
    ) -> list[Held]:
        if identifier not in self._versions:
            self._versions[identifier] = self._index.versions(identifier)
        ranges = [requirement.range for requirement in requirements[identifier]]
        excluded = {held.digest for held in incompatibilities[identifier]}
        fit = [
            held for held in self._versions[identifier]
            if held.digest not in excluded and all(held.version in each for each in ranges)
        ]  # fmt: skip
        return sorted(fit, key=lambda held: held.version != self._keep.get(identifier))

    def is_satisfied_by(self, requirement: Requirement, candidate: Held) -> bool:
        return candidate.version in requirement.range

    def get_dependencies(self, candidate: Held) -> Iterable[Requirement]:
        return candidate.package.module.requirements()
