"""Patches x words: MaxSim, the two contrastive losses and AdaMatch (Eqs. 5-9); knows no language model."""
