"""What the README's figures come from: `python -m benchmarks`. Real engines, real recordings, the real clock."""
