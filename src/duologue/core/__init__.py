"""The one place that decides. Pure: no asyncio, no clock, no randomness, no logging, no third party; time is an argument.

A test over the import graph keeps this true.
"""
