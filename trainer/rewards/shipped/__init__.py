"""The shipped rewards: one file each, all found by `dualsweep.trainer.rewards.registry`.

What several share is in `rewards/`.
"""
