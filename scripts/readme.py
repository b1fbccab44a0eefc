#!/usr/bin/env python3
"""Runs every command of README.md: each fenced `sh` block, in order, in one shell that stops at the first failure.

A block behind the comment `<!-- runs for itself -->` is left out: CI runs it as a step of its own.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"(<!-- runs for itself -->\n)?```sh\n(.*?)```", re.S)


def main():
    text = (ROOT / "README.md").read_text()
    blocks = [commands for apart, commands in BLOCK.findall(text) if not apart]
    if not blocks:
        sys.exit("README.md has no sh blocks")
    # What was started in the background ends with the shell, by its id.
    script = "trap 'kill $(jobs -p) 2> /dev/null; wait' EXIT\n" + "\n".join(blocks)
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
        file.write(script)
        file.flush()
        done = subprocess.run(["bash", "-euxo", "pipefail", file.name], cwd=ROOT, stdin=subprocess.DEVNULL, timeout=1200)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
