"""Freed memory is kept: large tensors made again and again cost no page faults."""

import subprocess
import sys

PROGRAM = """
import resource, torch
from eps_resnet.runs.memory import keep_freed
kept = {asks} and keep_freed()
def work():
    return [torch.ones(10 * 2**20) for _ in range(2)]  # 40 MiB each, beyond what glibc keeps by itself
for _ in range(8):  # until the heap has found its size
    work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    work()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_memory_that_was_freed_is_used_again_without_page_faults() -> None:
    def faults(asks: bool) -> tuple[str, int]:
        program = PROGRAM.format(asks=asks)
        words = subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True
        ).stdout.split()
        return words[0], int(words[1])

    (_, many), (kept, few) = faults(False), faults(True)
    assert kept == "True"
    assert few < many / 10
