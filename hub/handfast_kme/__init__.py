"""A QKD installation, SIMULATED: key management entities, links that distil, and who attacks them.

Nothing in here is quantum. Its keys are made of the operating system's random numbers and travel in clear
through a process that plays the optical line: use it to build and test, never to protect.
"""
