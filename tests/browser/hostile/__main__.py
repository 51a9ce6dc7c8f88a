"""python -m hostile NAME JSON: does one bad thing to the gateway, and fails where it does not answer as specified.
Without arguments: the names."""

import asyncio
import inspect
import json
import sys
import types

from . import handshakes, messages, streams

SCENES = {
    name: scene
    for module in (messages, streams, handshakes)
    for name, scene in vars(module).items()
    if inspect.iscoroutinefunction(scene) and scene.__module__ == module.__name__
    and list(inspect.signature(scene).parameters) == ["at"]
}

if len(sys.argv) == 1:
    print("\n".join(SCENES))
else:
    asyncio.run(SCENES[sys.argv[1]](types.SimpleNamespace(**json.loads(sys.argv[2]))))
