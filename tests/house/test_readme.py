"""The README is true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_picture_is_what_the_command_prints() -> None:
    done = subprocess.run([sys.executable, "scripts/readme_picture.py", "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0, "run python scripts/readme_picture.py"


def test_there_are_exactly_two_commands_and_ci_runs_both() -> None:
    commands = re.findall(r"<!-- command: (\w+) -->\n```bash\n(.+)\n```", README)
    assert [name for name, _ in commands] == ["run", "test"]
    assert README.count("```bash") == 2
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert all(f"command: {name}" in ci for name, _ in commands)


def test_the_example_is_a_test_of_the_shop_word_for_word() -> None:
    example = re.search(r"```python\n(.+?)```", README, re.S)
    assert example is not None
    lines = [line.split("  #")[0].rstrip() for line in example.group(1).splitlines()]
    shop = (ROOT / "tests" / "shop" / "test_shop.py").read_text(encoding="utf-8")
    assert all(line in shop for line in lines[1:] if line)


def test_every_link_leads_somewhere() -> None:
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (path.parent / target).exists(), f"{path}: {target}"
