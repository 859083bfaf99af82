"""A made-up libnvidia-ml.so.1: GPUs and MIG instances of a text file, for the real binding of NVML."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { int minor, mig, gi, ci, parts; char uuid[96], name[96]; void *part[8]; } device;
static device devices[16], parts[64];
static int count, all_parts;

/* lines: gpu MINOR UUID MIG NAME, and below it: mig GI CI UUID NAME; or: error NUMBER */
int nvmlInitWithFlags(unsigned flags) {
    char line[512];
    FILE *file = fopen(getenv("MADE_NVML"), "r");
    int error = 0;
    count = all_parts = 0;
    while (file && fgets(line, sizeof line, file)) {
        device *d = &devices[count], *p = &parts[all_parts];
        if (sscanf(line, "error %d", &error) == 1) return error;
        if (sscanf(line, "gpu %d %95s %d %95[^\n]", &d->minor, d->uuid, &d->mig, d->name) == 4) {
            d->parts = 0;
            count++;
        }
        if (sscanf(line, "mig %d %d %95s %95[^\n]", &p->gi, &p->ci, p->uuid, p->name) == 4) {
            d = &devices[count - 1];
            d->part[d->parts++] = p;
            all_parts++;
        }
    }
    if (!file) return 9;
    fclose(file);
    return 0;
}
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int error) { return error == 18 ? "Driver/library version mismatch" : "made-up error"; }
int nvmlDeviceGetCount_v2(unsigned *found) { *found = count; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    *handle = &devices[index];
    return index < count ? 0 : 2;
}
int nvmlDeviceGetUUID(device *d, char *text, unsigned size) { snprintf(text, size, "%s", d->uuid); return 0; }
int nvmlDeviceGetName(device *d, char *text, unsigned size) { snprintf(text, size, "%s", d->name); return 0; }
int nvmlDeviceGetMinorNumber(device *d, unsigned *minor) { *minor = d->minor; return 0; }
int nvmlDeviceGetMigMode(device *d, unsigned *now, unsigned *then) {
    *now = *then = d->mig > 0;
    return d->mig < 0 ? 3 : 0;
}
int nvmlDeviceGetMaxMigDeviceCount(device *d, unsigned *most) { *most = 7; return 0; }
int nvmlDeviceGetMigDeviceHandleByIndex(device *d, unsigned index, void **part) {
    if ((int)index >= d->parts) return 6;
    *part = d->part[index];
    return 0;
}
int nvmlDeviceGetGpuInstanceId(device *p, unsigned *id) { *id = p->gi; return 0; }
int nvmlDeviceGetComputeInstanceId(device *p, unsigned *id) { *id = p->ci; return 0; }
"""


class MadeNvml:
    """The library in a folder, and what it says of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._listed = folder / "gpus.txt"
        self.says()

    def says(self, *lines: str) -> None:
        """Have the machine these GPUs: "gpu MINOR UUID MIG NAME" and "mig GI CI UUID NAME"; MIG is -1 where unknown."""
        self._listed.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def environment(self, **more: str) -> dict[str, str]:
        """For a process that is to find it."""
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("CUDA_", "EGOWORLD_"))}
        return {**kept, "LD_LIBRARY_PATH": str(self.folder), "MADE_NVML": str(self._listed), **more}


def made_nvml(folder: Path) -> MadeNvml:
    """Compile it; a machine without a C compiler skips."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "made.c").write_text(SOURCE, encoding="utf-8")
    library = folder / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-w", "-shared", "-fPIC", "-o", library, folder / "made.c"], check=True)
    return MadeNvml(folder)
