"""Things by name: ours, and those that installed packages bring as entry points, imported when they are asked for."""

import importlib
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from equitensor.errors import InputError

_log = logging.getLogger(__name__)


class Registry(Mapping[str, Any]):
    """Name -> architecture, product, format or label: ours first, then those of installed packages.

    A package brings one by an entry point of `group`, `name = "module:attribute"`, or "module" for a module. Looking
    at the names imports nothing. A name that is ours stays ours; one that two packages bring is neither's.

    Args:
        kind: what messages call one of them, "architecture".
        group: of the entry points, "equitensor.architectures".
        own: ours, each the thing itself or where it lies, "module:attribute".
        problem: (name, thing) -> what is wrong with one of a package, or None.
        reserved: names that nothing may have.
        key: what messages call the setting that names one; left out: kind.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        own: Mapping[str, Any],
        problem: Callable[[str, Any], str | None],
        reserved: tuple[str, ...] = (),
        key: str = "",
    ) -> None:
        self.kind, self.group, self._own, self._problem = kind, group, dict(own), problem
        self._reserved, self._key = reserved, key or kind
        self._here: dict[str, Any] = {}
        self._load = lru_cache(maxsize=64)(self._loaded)

    def names(self) -> tuple[str, ...]:
        """All names, without an import: ours, those registered here, those of packages in alphabetical order."""
        return (*self.here(), *(name for name in self._brought() if name not in self._here))

    def here(self) -> tuple[str, ...]:
        """The names of ours and of those registered here."""
        return (*self._own, *self._here)

    def usable(self) -> tuple[str, ...]:
        """The names of all that can be imported. Those of packages that cannot are left out, with a warning."""
        return tuple(name for name in self.names() if self._refusal(name) is None)

    def find(self, name: str) -> Any:
        """What the name stands for. Raises InputError, with the package, for one that is unknown or cannot be used."""
        if name not in self.names():
            raise InputError(f"{self._key} is {name!r}: choose one of {', '.join(self.names())}")
        if (refusal := self._refusal(name)) is not None:
            raise InputError(refusal)
        return self._thing(name)

    def package(self, name: str) -> str | None:
        """The package that brings a name, "pairs 1.0", or None where it is ours or registered here."""
        brought = self._brought().get(name, ())
        return _package(brought[0]) if brought and name not in self._here else None

    @contextmanager
    def registered(self, name: str, thing) -> Iterator[Any]:
        """This thing under that name as long as the context lasts, for notebooks and tests.

        Raises InputError where there is one of that name, or the thing is none.
        """
        if name in self.names() or name in self._reserved:
            raise InputError(f"the {self.kind} {name!r} exists already: choose another name")
        if (problem := self._problem(name, thing)) is not None:
            raise InputError(f"the {self.kind} {name!r} cannot be used: {problem}")
        self._here[name] = thing
        try:
            yield thing
        finally:
            del self._here[name]

    def __getitem__(self, name: str) -> Any:
        if name not in self.names():
            raise KeyError(name)
        return self.find(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def _brought(self) -> dict[str, tuple[EntryPoint, ...]]:
        return _entries(self.group, (*self._own, *self._reserved), tuple(sys.path))

    def _refusal(self, name: str) -> str | None:
        ours = name in self._own or name in self._here
        return None if ours else self._load(self._brought()[name], tuple(sys.path))[1]

    def _thing(self, name: str):
        if name in self._here:
            return self._here[name]
        if name not in self._own:
            return self._load(self._brought()[name], tuple(sys.path))[0]
        own = self._own[name]
        return _imported(own) if isinstance(own, str) else own

    def _loaded(self, brought: tuple[EntryPoint, ...], _path: tuple[str, ...]) -> tuple[Any, str | None]:
        """(thing, None), or (None, why it cannot be used), which is logged once."""
        thing, name = None, brought[0].name
        if len(brought) > 1:
            packages = " and ".join(f"{_package(each)} ({each.value})" for each in brought)
            refusal = f"the {self.kind} {name!r} is brought by {packages}: uninstall one of them"
        else:
            thing, problem = self._import(brought[0])
            refusal = f"the {self.kind} {name!r} of {_package(brought[0])} cannot be used: {problem}"
            if problem is None:
                return thing, None
        _log.warning("%s", refusal)
        return None, refusal

    def _import(self, entry: EntryPoint) -> tuple[Any, str | None]:
        try:
            thing = entry.load()
        except Exception as error:  # the code of others
            return None, f"{entry.value}: {type(error).__name__}: {error}"
        problem = self._problem(entry.name, thing)
        return thing, None if problem is None else f"{entry.value}: {problem}"


@lru_cache(maxsize=32)
def _entries(group: str, taken: tuple[str, ...], _path: tuple[str, ...]) -> dict[str, tuple[EntryPoint, ...]]:
    """Name -> entry points of installed packages, several where a name is brought more than once."""
    entries: dict[str, tuple[EntryPoint, ...]] = {}
    for entry in sorted(entry_points(group=group), key=lambda entry: (entry.name, entry.value)):
        if entry.name in taken:
            _log.warning(
                "%s of %s (%s) is left out, because there is one of this name",
                *(entry.name, _package(entry), entry.value),
            )
        else:
            entries[entry.name] = (*entries.get(entry.name, ()), entry)
    return entries


def _package(entry: EntryPoint) -> str:
    """The name and version of the package that an entry point is of."""
    return "a package" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"


def _imported(path: str):
    module, _, attribute = path.partition(":")
    imported = importlib.import_module(module)
    return getattr(imported, attribute) if attribute else imported
