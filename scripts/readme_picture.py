"""Put what the shipped scenario prints into the README, between its two markers.

python scripts/readme_picture.py            writes README.md
python scripts/readme_picture.py --check    exits with 1 if that would change it
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- picture:begin -->", "<!-- picture:end -->"


def with_picture(text: str) -> str:
    """The README with the picture as it is now."""
    command = [sys.executable, "-m", "tasksim", "run", "scenarios/worker_lost.yaml"]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n```text\n{output.rstrip()}\n```\n{END}{tail}"


def main() -> int:
    """The command."""
    path = ROOT / "README.md"
    text = path.read_text(encoding="utf-8")
    wanted = with_picture(text)
    if "--check" in sys.argv[1:]:
        return int(wanted != text)
    path.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
