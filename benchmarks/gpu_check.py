"""Thirteen checks of what a card does, in under 8 minutes: `make gpu-check`, or `python -m benchmarks.gpu_check OUT`.

Without a card it runs what a CPU can, smaller, and says what was not run. Each check is a process of its own, ended
when its time is up; OUT is written after each. Needs no locked environment: Python 3.11 or later, torch 2.11 or later,
and the packages that a training imports, in any version. None is imported here, so that a missing one is told.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

LIMIT = 470  # seconds for all checks together
CAPS = {  # seconds for each
    "versions": 60,
    "parity": 70,
    "late": 40,
    "not finite": 30,
    "repeatability": 50,
    "waits": 40,
    "memory": 60,
    "training": 60,
    "resume": 150,
    "sharing": 100,
    "bounds": 40,
    "speed": 120,
    "soak": 45,
}
RESULTS = Path("benchmarks/results")


def main() -> None:
    """Runs all checks, or with a name after OUT those alone; the exit code is 1 if one fails."""
    if sys.argv[1:2] == ["--check"]:
        from benchmarks import gpu_checks  # what it imports may be missing: this process alone then fails

        print(json.dumps(gpu_checks.run(sys.argv[2], float(sys.argv[3]))))
        return
    out = Path(sys.argv[1]) if sys.argv[1:] else None
    checks = run_all(out, sys.argv[2:] or list(CAPS))
    print(table(checks))
    sys.exit(any(check["holds"] is False for check in checks.values()))


def run_all(out: Path | None, names: list[str]) -> dict[str, dict[str, Any]]:
    """What each of these checks found, written to `out` after each; by default to a file that names the card."""
    started, checks = time.monotonic(), {}
    for name in names:
        left = LIMIT - (time.monotonic() - started)
        print(f"{name} ...", file=sys.stderr, flush=True)
        checks[name] = _one(name, min(CAPS[name], left))
        out = out or default_path(checks.get("versions", {}))
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(
            json.dumps({"finished": len(checks), "of": len(names), "checks": checks}, indent=1) + "\n", encoding="utf-8"
        )
    return checks


def default_path(versions: dict[str, Any]) -> Path:
    """Where the results of this machine go: those of a card are kept, those without one are not."""
    card = versions.get("figures", {}).get("card")
    return RESULTS / f"gpu-{'-'.join(card.lower().split())}.json" if card else Path("work/gpu-check.json")


def _one(name: str, seconds: float) -> dict[str, Any]:
    started = time.monotonic()
    if seconds < 1:
        return failed(f"not run: the {LIMIT} s for all checks were over", None)
    command = [sys.executable, "-m", "benchmarks.gpu_check", "--check", name, str(seconds)]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, text=True, encoding="utf-8", start_new_session=True, stdout=pipe, stderr=pipe
    ) as process:
        try:
            output, errors = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with the processes that it started
            return failed(f"not finished after its {seconds:.0f} s", False)
    if process.returncode:
        lines = errors.strip().splitlines() or [f"it ended with exit code {process.returncode}"]
        return {**failed(lines[-1], False), "trace": lines[-30:]}
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return {**found, "seconds": round(time.monotonic() - started, 1)}


def failed(why: str, holds: bool | None) -> dict[str, Any]:
    """What is written of a check that gave nothing."""
    return {"holds": holds, "figures": {}, "not_run": why}


def table(checks: dict[str, dict[str, Any]]) -> str:
    """The checks as a table in Markdown."""
    rows = ["| check | | found | not run |", "|---|---|---|---|"]
    for name, check in checks.items():
        word = {True: "holds", False: "**fails**", None: ""}[check["holds"]]
        figures = ", ".join(f"{key} {_short(value)}" for key, value in check["figures"].items())
        rows.append(f"| {name} | {word} | {figures} | {check['not_run']} |")
    return "\n".join(rows)


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
