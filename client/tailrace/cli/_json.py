"""Values as JSON that can be written wherever stdout leads."""

import json
import sys
from typing import Any


def json_text(value: Any) -> str:
    """Return a value as JSON in one line: letters as themselves, or all escaped where stdout cannot write one of them.

    Half of a surrogate pair is such a one, which JSON can carry and no encoding can.
    """
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(value)
    return text
