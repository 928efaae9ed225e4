"""Writing text: rows that join and leave a running batch between two tokens.

``slab`` holds the rows' keys and values, ``sampling`` chooses the next tokens, ``writer`` makes
text of them, ``rows`` is what a request becomes, ``engine`` is the loop over all of it.
"""

from __future__ import annotations
