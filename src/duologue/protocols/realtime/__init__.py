"""The OpenAI Realtime protocol, without I/O: GA shapes only, typed both ways by OpenAI's own package.

Importing it costs about half a second, most of it OpenAI's: import it only where it is spoken.
"""

from duologue.protocols.realtime.dialect import Realtime, needed

__all__ = ["Realtime", "needed"]
