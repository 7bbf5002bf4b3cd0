"""Image <-> ids: the VQ-GAN; knows pixels, never words."""
