"""Models: what predicts the noise, on which schedule, in which space, frozen or trained, loaded and stored through diffusers."""
