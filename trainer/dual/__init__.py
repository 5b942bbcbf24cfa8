"""The dual side: pure rules, the state they act on, and the controller that turns workers' reports into dual steps.

Nothing here imports torch or Ray: it runs in a small actor, and on a laptop in a test.
"""
