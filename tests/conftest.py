"""What every test needs: no network for model weights, no window for figures, no trace in the user's cache."""
import os
import shutil
import tempfile

CACHE = tempfile.mkdtemp(prefix="trmml-tests-")
os.environ.update(HF_HUB_OFFLINE="1", MPLBACKEND="Agg", TRMML_CACHE=CACHE)


def pytest_unconfigure(config):
    shutil.rmtree(CACHE, ignore_errors=True)
