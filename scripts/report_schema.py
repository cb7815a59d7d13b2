"""Write docs/reference/report.schema.json from the report's model; with --check, fail when the file is stale."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from polydub.report.model import schema

TARGET = Path(__file__).resolve().parents[1] / "docs" / "reference" / "report.schema.json"


def main(arguments: list[str]) -> int:
    """Exit status: 0 written or current, 1 stale under --check, 2 wrong usage."""
    if arguments not in ([], ["--check"]):
        print("usage: report_schema.py [--check]", file=sys.stderr)
        return 2
    wanted = json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
    if arguments:
        if TARGET.is_file() and TARGET.read_text(encoding="utf-8") == wanted:
            return 0
        print(f"{TARGET.name} is stale; run: python scripts/report_schema.py", file=sys.stderr)
        return 1
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
