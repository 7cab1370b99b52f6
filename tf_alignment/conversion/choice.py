"""Choice of the layers to convert, by name, regular expression or function."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import keras

from tf_alignment.conversion.sites import Site

__all__ = ["Selection", "Selector"]

Selector = str | re.Pattern[str] | Callable[[Any], bool]


class Selection:
    """Layers that `include` and `exclude` name.

    Args:
        include, exclude: See `tf_alignment.convert`.
        sites: Sites of the layers that can be converted.
        argument: Name of the argument that `include` came from, for error messages.

    Raises:
        TypeError, ValueError: See `tf_alignment.convert`.
    """

    def __init__(
        self,
        include: Selector | Iterable[Selector] | None,
        exclude: Selector | Iterable[Selector] | None,
        sites: list[Site],
        argument: str = "include",
    ) -> None:
        self._argument = argument
        self._included = _selectors(argument, include, sites)
        self._excluded = _selectors("exclude", exclude, sites)
        self._sites = sites
        self._used: set[int] = set()

    def chosen(self) -> list[Site]:
        """Layers to convert: the named ones, or every layer whose error can be used below it."""
        found = []
        for site in self._sites:
            named, refused = self._hit(site, self._included), self._hit(site, self._excluded)
            if not refused and (named or (site.sends and not self._included)):
                found.append(site)
        self._check_used()
        return found

    def wanted(self, site: Site) -> bool:
        """Whether a layer may be converted: it is not excluded, and included if others are."""
        if self._hit(site, self._excluded):
            return False
        return not self._included or self._hit(site, self._included)

    def first(self, site: Site) -> Selector:
        """First selector of `include` that names a layer."""
        return next(selector for selector in self._included if _matches(selector, site))

    def _hit(self, site: Site, selectors: list[Selector]) -> bool:
        hits = [selector for selector in selectors if _matches(selector, site)]
        self._used.update(id(selector) for selector in hits)
        return bool(hits)

    def _check_used(self) -> None:
        for name, selectors in ((self._argument, self._included), ("exclude", self._excluded)):
            for selector in selectors:
                if isinstance(selector, str | re.Pattern) and id(selector) not in self._used:
                    known = sorted({site.path for site in self._sites})
                    raise ValueError(
                        f"Argument `{name}` must match layers that can be converted: {known}. "
                        f"Received: {selector!r}, which matches none"
                    )


def _names(site: Site) -> set[str]:
    """Names and paths of a layer and of the layers that contain it."""
    chain = (*site.holders, site.layer)
    paths = ("/".join(layer.name for layer in chain[: k + 1]) for k in range(len(chain)))
    return {*(layer.name for layer in chain), *paths}


def _selectors(name: str, value: Any, sites: list[Site]) -> list[Selector]:
    """Checked list of the selectors in an argument; a layer's name need not be a valid pattern."""
    if value is None:
        return []
    names = {own for site in sites for own in _names(site)}
    single = isinstance(value, str | re.Pattern) or callable(value)
    try:
        selectors = [value] if single else list(value)
    except TypeError:
        selectors = [value]
    for selector in selectors:
        try:
            re.compile(selector if isinstance(selector, str) and selector not in names else "")
        except re.error as error:
            raise ValueError(
                f"Argument `{name}` must be a name or a valid regular expression ({error}). "
                f"Received: {name}={selector!r}"
            ) from None
        layer = isinstance(selector, type | keras.layers.Layer)  # callable, but no function of one
        if layer or not (isinstance(selector, str | re.Pattern) or callable(selector)):
            raise TypeError(
                f"Argument `{name}` must be a name, a regular expression, a function of a layer "
                "(`lambda layer: isinstance(layer, ...)`), or several of these. Received: "
                f"{name}={value!r}"
            )
    return selectors


def _matches(selector: Selector, site: Site) -> bool:
    if not isinstance(selector, str | re.Pattern):
        held = [layer for layer in site.holders if not isinstance(layer, keras.Model)]
        return any(bool(selector(layer)) for layer in (*held, site.layer))
    names = _names(site)
    if selector in names:
        return True
    try:
        return any(re.fullmatch(selector, name) for name in names)
    except re.error:  # the name of another layer
        return False
