"""Check that vapray/__init__.py, CHANGELOG.md and CITATION.cff state one version; print it, or end with exit code 2."""

import re
import sys
from pathlib import Path

VERSION = re.compile(r'^__version__ = "(\d+\.\d+\.\d+)"$', re.MULTILINE)
RELEASE = re.compile(r"^## \[(\S+)\] - (\d{4}-\d\d-\d\d)$", re.MULTILINE)
HEADING = re.compile(r"^## (.*)$", re.MULTILINE)
CITED = {name: re.compile(rf'^{name}: "?([^"\s]+)"?$', re.MULTILINE) for name in ("version", "date-released")}


def version_of(root: Path) -> str:
    """Version of the package, from its source."""
    (found,) = VERSION.findall((root / "vapray" / "__init__.py").read_text())
    return str(found)


def disagreements(root: Path) -> list[str]:
    """List what contradicts the version of the package, each with its fix; empty if all agree."""
    version, problems = version_of(root), []
    text = (root / "CHANGELOG.md").read_text()
    (first, *_), releases = HEADING.findall(text), dict(RELEASE.findall(text))
    if not first.startswith(f"[{version}] - ") or version not in releases:
        problems.append(
            f"CHANGELOG.md: the first section is {first!r}, the version is {version}. Fix: begin with "
            f"'## [{version}] - YYYY-MM-DD', or correct __version__ in vapray/__init__.py."
        )
    cited = (root / "CITATION.cff").read_text()
    for name, expected in (("version", version), ("date-released", releases.get(version))):
        found = CITED[name].findall(cited)
        if expected and found != [expected]:
            problems.append(
                f"CITATION.cff: {name} is {', '.join(found) or 'missing'}, CHANGELOG.md and vapray/__init__.py say "
                f"{expected}. Fix: set {name} to {expected}."
            )
    return problems


def main() -> None:
    """Print the version; exit code 2 and all disagreements on standard error if there are any."""
    root = Path(__file__).parents[1]
    if problems := disagreements(root):
        print("\n".join(problems), file=sys.stderr)
        raise SystemExit(2)
    print(version_of(root))


if __name__ == "__main__":
    main()
