"""Image -> patches: the pyramid encoder with AdaPatch (Eqs. 1-4); knows no words."""
