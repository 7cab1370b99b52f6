"""Hook of the site's builder: a number and its error stand on one line, in narrow columns too."""

import re
from typing import Any

_ERROR = re.compile(r"(?<=\d) ± (?=\d)")


def on_page_content(html: str, **_: Any) -> str:
    """Put no-break spaces around ± between two numbers."""
    return _ERROR.sub("\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}", html)
