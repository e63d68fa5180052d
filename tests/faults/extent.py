"""How long and how often the faults go on.

``make test`` has a form that fits; ``make faults`` sets FAULTS=full for all that is promised.
"""

import os

IS_FULL = os.environ.get("FAULTS") == "full"

IDLE_S = 60.0 if IS_FULL else 10.0
"""How long the idle waits are watched."""
FAULTS = 3 if IS_FULL else 1
"""How many crashes, or stops, each of the crowded scenes has."""
