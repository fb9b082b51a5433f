"""Freed memory is kept: large blocks taken again and again cost no page faults."""

import subprocess
import sys

PROGRAM = """
import resource
from eps_resnet.runs.memory import keep_freed
def faults():
    def work():
        return [bytearray(40 * 2**20) for _ in range(2)]  # as large as feature maps: glibc hands them back by itself
    for _ in range(8):  # until the heap has found its size
        work()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        work()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults(), keep_freed(), faults())
"""


def test_memory_that_was_freed_is_used_again_without_page_faults() -> None:
    process = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)
    many, kept, few = process.stdout.split()
    assert kept == "True"
    assert int(few) < int(many) / 10
