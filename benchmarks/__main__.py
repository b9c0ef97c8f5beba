"""Runs every benchmark in a process of its own, so that one's memory is not counted to another."""

import subprocess
import sys

BENCHMARKS = ("loading", "engine", "retraining", "nightly", "scoring", "replay", "accuracy", "drift", "api", "crashes")


def main() -> int:
    """Prints all of them; `python -m benchmarks.NAME` runs one. Answers 1 where one failed or missed its goal."""
    failed = []
    for name in sys.argv[1:] or BENCHMARKS:
        print(f"\n## {name}\n", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode:
            failed.append(name)
    if failed:
        print(f"\nFailed, or missed its goal: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
