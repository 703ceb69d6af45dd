"""How much to try: all of it where ``make test-long`` asks for that, otherwise what shows most of it."""

import os
from typing import Final

LONG: Final = os.environ.get("GUESTMOUNT_PY_LONG") == "1"
