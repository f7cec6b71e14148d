"""Lets the tests import `small_fusion`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
