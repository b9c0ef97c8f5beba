"""Jobs that tests run in processes of their own; each writes to the file that its arguments name."""

import os
import time
from pathlib import Path

from shelfops import jobs


def count(run, progress):
    with Path(run.arguments["file"]).open("a") as file:
        file.write(f"{os.getpid()}\n")
    return {"counted": True}


def dig(run, progress):
    progress.stage("Digging", 40)
    Path(run.arguments["file"]).write_text(str(os.getpid()))
    time.sleep(60)


for _name, _work in (("count", count), ("dig", dig)):
    jobs.register(_name, _work, resource="garden")
