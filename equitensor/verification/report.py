"""The findings of all checks on one structure, as a table and as JSON."""

from dataclasses import dataclass

from equitensor.verification.finding import FAILED, NOT_APPLICABLE, Finding

_COLUMNS = f"{'check':<20} {'value':>9} {'bound':>9} {'unit':<14} "


@dataclass(frozen=True)
class Report:
    """The result of `verify`: formula of the structure, findings in order of the checks, calls, seconds."""

    structure: str
    findings: list[Finding]
    calls: int
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not self.failed

    @property
    def failed(self) -> list[str]:
        """The names of the failed checks."""
        return [finding.check for finding in self.findings if finding.verdict == FAILED]

    def __getitem__(self, check: str) -> Finding:
        return next(finding for finding in self.findings if finding.check == check)

    def __str__(self) -> str:
        return "\n".join([HEADING, *map(row, self.findings), self.verdict()])

    def verdict(self) -> str:
        """A summary in one line."""
        count = sum(finding.verdict != NOT_APPLICABLE for finding in self.findings)
        failed = f"{len(self.failed)} of {count} checks FAILED: {', '.join(self.failed)}"
        passed = f"{count} checks passed"
        return f"{self.structure}: {passed if self.passed else failed} ({self.calls} calls, {self.seconds:.0f} s)"

    def as_dict(self) -> dict:
        """For JSON."""
        findings = [finding.as_dict() for finding in self.findings]
        about = {"structure": self.structure, "passed": self.passed, "calls": self.calls, "seconds": self.seconds}
        return {**about, "checks": findings}


HEADING = _COLUMNS + "verdict"


def row(finding: Finding) -> str:
    """A line of the table: the worst quantity of a check."""
    worst = finding.worst
    verdict = finding.verdict.upper() if finding.verdict == FAILED else finding.verdict
    if worst is None:
        return f"{finding.check:<20} {'':9} {'':9} {'':14} {verdict}: {finding.reason}"
    where = f"  {worst.name}" + (f", {worst.where}" if worst.where else "")
    columns = f"{worst.value:9.1e} {worst.bound:9.1e}"
    return f"{finding.check:<20} {columns} {worst.unit:<14} {verdict:<7}{where}"
