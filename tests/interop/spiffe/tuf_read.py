"""Reads a target of a TUF repository with python-tuf, for the interop script beside it."""

import sys
import tempfile

from tuf.ngclient import Updater

base, root, target = sys.argv[1:]
with tempfile.TemporaryDirectory() as state:
    updater = Updater(
        metadata_dir=state,
        metadata_base_url=f"{base}/metadata/",
        target_dir=state,
        target_base_url=f"{base}/targets/",
        bootstrap=open(root, "rb").read(),
    )
    updater.refresh()
    info = updater.get_targetinfo(target)
    print(open(updater.download_target(info)).read())
