"""What `orchestrator bench` measures: training steps, packs, and what a search costs besides training."""
