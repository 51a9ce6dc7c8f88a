#!/usr/bin/env python3
"""A ticket of your own making: prints what lets a viewer watch all streams whose id begins so.

    ticket.py KEY_FILE KID PREFIX [SECONDS] [stop]

KEY_FILE has a private key of Ed25519 (PEM), or a secret that the gateway has, too.
"""

import sys
import time
from pathlib import Path

import jwt

if len(sys.argv) < 4:
    sys.exit("ticket.py KEY_FILE KID PREFIX [SECONDS] [stop]")
file, kid, prefix, *more = sys.argv[1:]
seconds = int(more[0]) if more else 600

key = Path(file).read_text()
algorithm = "EdDSA" if key.startswith("-----BEGIN") else "HS256"
if algorithm == "HS256":
    # The line break at the end of a file is not part of a secret.
    key = key.removesuffix("\n").removesuffix("\r")

claims = {
    "aud": "tokencast",
    # Whole seconds: a fraction is refused.
    "exp": int(time.time()) + seconds,
    "prefix": prefix,
    "can": ["watch", "stop"] if "stop" in more else ["watch"],
}
print(jwt.encode(claims, key, algorithm=algorithm, headers={"kid": kid}))
