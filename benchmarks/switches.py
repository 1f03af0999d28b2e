"""What each technique gains is seen by leaving it out: each of these is a setting that exists, at the value that has no effect.

Techniques without a setting are no switch here: the decoding while the user speaks, and the voice whose decoder overlaps its
encoder can only be switched off once a setting does it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from duologue.config import Config, override

SWITCHES: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = MappingProxyType(
    {
        "drafts": ("patience", {"drafts": 0}),
        "turn detector": ("engines", {"turn_detector": "none"}),
        "weighed words": ("engines", {"turn_detector": "smart_turn"}),
        "small first piece": ("cutting", {"hungry_s": 0.0, "starving_s": 0.0}),
        "first frame": ("speech", {"stop_s": 0.2}),
        "pause by level": ("speech", {"fall_db": 1000.0, "above_room_db": -1000.0}),
        "asking again": ("patience", {"ask_again_s": 60.0}),
        "wait for ready replies": ("patience", {"ready_s": 0.0}),
        "prefill": ("engines", {"prefill": False}),
        "feelings": ("conversation", {"feelings": False}),
    }
)
"""Name: the group of settings, and what is set. `first frame`: the pause is noticed after 0.2 s, as other servers do;
`pause by level`: only the voice activity model says that a voice has ended."""


def environment(names: Iterable[str]) -> dict[str, str]:
    """The same for a server in a process of its own."""
    return {
        f"DUOLOGUE_{group}__{setting}".upper(): str(value).lower()
        for group, values in map(SWITCHES.__getitem__, names)
        for setting, value in values.items()
    }


def without(config: Config, names: Iterable[str]) -> Config:
    for name in names:
        group, values = SWITCHES[name]
        config = override(config, group, **values)
    return config
