"""The findings of checks: a report of all, and one error that says in words what failed."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Callable, Iterator
from typing import Literal

__all__ = ["Check", "CheckFailed", "Mismatch", "NotApplicable", "Report"]


class Mismatch(Exception):
    """Raised by a check that received something else than it expected.

    Args:
        expected: What was expected, in words.
        received: What was received.
        cause: What usually causes it, if the check knows better than its description.
    """

    def __init__(self, expected: str, received: str, cause: str = "") -> None:
        super().__init__(f"Expected: {expected}. Received: {received}")
        self.expected = expected
        self.received = received
        self.cause = cause


class NotApplicable(Exception):
    """Raised by a check where there is nothing to check; its argument says why."""


@dataclasses.dataclass(frozen=True)
class Check:
    """One check on one layer.

    Attributes:
        name: Which check, one of `CHECKS` or `LAYER_CHECKS`.
        where: The layer.
        status: `"passed"`, `"failed"` or `"skipped"`.
        what: What is checked, in words.
        why: Why it was skipped.
        expected: What was expected, if it failed.
        received: What was received, if it failed.
        cause: What usually causes it, if it failed.

    Example:
    >>> import tf_alignment as ta
    >>> report = ta.testing.check_rule("fa", checks=["forward"], layers=["dense"])
    >>> check = report.checks[0]
    >>> check.name, check.where, check.status
    ('forward', 'dense', 'passed')
    """

    name: str
    where: str
    status: Literal["passed", "failed", "skipped"]
    what: str
    why: str = ""
    expected: str = ""
    received: str = ""
    cause: str = ""


@dataclasses.dataclass(frozen=True)
class Report:
    """All checks of one rule or layer class.

    Attributes:
        subject: The rule or layer class, printed.
        checks: The checks, in the order in which they ran.

    Example:
    >>> import tf_alignment as ta
    >>> report = ta.testing.check_rule("fa", checks=["forward", "closed_form"], layers=["dense"])
    >>> print(report)
    FeedbackAlignment(): 1 passed, 0 failed, 1 skipped
      closed_form on dense skipped: the rule has no loss of its own
    """

    subject: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> tuple[Check, ...]:
        """The checks that passed."""
        return tuple(check for check in self.checks if check.status == "passed")

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.status == "failed")

    @property
    def skipped(self) -> tuple[Check, ...]:
        """The checks that had nothing to check, or could not."""
        return tuple(check for check in self.checks if check.status == "skipped")

    def __str__(self) -> str:
        counts = (
            f"{len(self.passed)} passed, {len(self.failed)} failed, {len(self.skipped)} skipped"
        )
        skipped = [
            f"  {same[0].name} on {_places(same)} skipped: {same[0].why}"
            for same in _alike(self.skipped)
        ]
        return "\n".join(
            [f"{self.subject}: {counts}", *map(_describe, _alike(self.failed)), *skipped]
        )


class CheckFailed(AssertionError):
    """One or more checks failed; the message says which, where, and what usually causes it.

    Attributes:
        report: The `Report`, with the checks that passed as well.

    Example:
    >>> import tf_alignment as ta
    >>> class Broken(ta.feedback.FeedbackAlignment):
    ...     \"\"\"Changes what the layer computes.\"\"\"
    ...     def couple(self, kernel, weights, linear_map):
    ...         return 2.0 * kernel
    >>> try:
    ...     report = ta.testing.check_rule(Broken(), checks=["forward"], layers=["dense"])
    ... except ta.testing.CheckFailed as error:
    ...     print(len(error.report.failed))
    1
    """

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report


def _alike(checks: tuple[Check, ...]) -> Iterator[list[Check]]:
    """Checks that say the same about several layers, together."""
    groups: dict[tuple[str, ...], list[Check]] = {}
    for check in checks:
        key = (check.name, check.why, check.expected, check.cause)
        groups.setdefault(key, []).append(check)
    yield from groups.values()


def _places(checks: list[Check]) -> str:
    names = list(dict.fromkeys(check.where for check in checks))
    return (
        ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"
    )


def _describe(checks: list[Check]) -> str:
    """A failure in words; where several layers show the same, the first in full."""
    first, *others = checks
    lines = [
        f"\n{first.name} failed on {first.where}",
        f"checked:  {first.what}",
        f"expected: {first.expected}",
        f"received: {first.received}",
        f"usually:  {first.cause}",
    ]
    if others:
        lines.append(f"likewise: {_places(others)}")
    wrapped = [
        textwrap.fill(line, 96, initial_indent="    ", subsequent_indent=" " * 14)
        for line in lines[1:]
    ]
    return "\n".join([lines[0], *wrapped])


class Runner:
    """Runs checks and collects what they found.

    An exception that several checks meet, since they look at the same pass, is reported once.
    """

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.checks: list[Check] = []
        self._seen: dict[int, tuple[BaseException, str]] = {}

    def run(self, name: str, where: str, what: str, cause: str, check: Callable[[], None]) -> None:
        """Run `check`, which returns if all is well."""
        try:
            check()
        except NotApplicable as reason:
            self.checks.append(Check(name, where, "skipped", what, why=str(reason)))
        except Exception as error:  # noqa: BLE001 whatever somebody's rule raises is a finding
            self._fail(name, where, what, cause, error)
        else:
            self.checks.append(Check(name, where, "passed", what))

    def _fail(self, name: str, where: str, what: str, cause: str, error: Exception) -> None:
        if id(error) in self._seen:
            why = f"it needs what failed in '{self._seen[id(error)][1]}'"
            self.checks.append(Check(name, where, "skipped", what, why=why))
            return
        self._seen[id(error)] = (error, name)  # kept alive: the id stays its own
        if isinstance(error, Mismatch):
            expected, received = error.expected, error.received
            cause = error.cause or cause
        else:
            expected = "no exception"
            received = f"{type(error).__name__}: {_first_lines(str(error))}"
        self.checks.append(Check(name, where, "failed", what, "", expected, received, cause))

    def finish(self) -> Report:
        """The report; raises `CheckFailed` if a check failed."""
        report = Report(self.subject, tuple(self.checks))
        if report.failed:
            raise CheckFailed(report)
        return report


def _first_lines(text: str, limit: int = 400) -> str:
    short = " ".join(text.split())
    return short if len(short) <= limit else short[:limit] + " ..."
