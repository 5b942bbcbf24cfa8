"""What predicts the noise, on which schedule, in which space, frozen or trained, loaded and stored through diffusers.

How it is trained is in `engine/`, how it is sampled in `samplers/`.
"""
