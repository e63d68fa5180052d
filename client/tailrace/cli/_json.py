"""Values as JSON that can be written wherever stdout leads."""

import json
import sys
from typing import Any

from tailrace.client._plain import to_plain


def json_text(value: Any) -> str:
    """Return a value as JSON in one line: letters as themselves, or all escaped where stdout cannot write one of them.

    Bytes, which other formats carry, are written as base64.

    Half of a surrogate pair is such a one, which JSON can carry and no encoding can.
    """
    text = json.dumps(value, ensure_ascii=False, default=to_plain)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(value, default=to_plain)
    return text
