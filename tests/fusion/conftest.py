"""Lets the tests of this room import `three_columns`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
