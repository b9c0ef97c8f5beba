"""What README's numbers come from. Importing it sets Django up on a folder of its own."""

import os
import tempfile

import django

_folder = tempfile.TemporaryDirectory(prefix="shelfops-bench-")
os.environ["SHELFOPS_DATA_DIR"] = _folder.name
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shelfops.settings")
django.setup()
