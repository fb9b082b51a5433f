"""By how much numbers may differ and still count as equal, or as no loss: fixed before any run (docs/verdicts.md)."""

# Claim 1, of the baseline's error: the paper itself calls 2.1 % (101 layers) and 2.9 % (152) marginal on ImageNet.
MARGINAL_LOSS = 0.03
# A published share of discarded blocks. Fig. 8: a change of epsilon by 0.2 moves it by .02 (CIFAR-10) to .08
# (CIFAR-100), .05 on average. What differs by less could as well be another epsilon read off the same figure.
PUBLISHED_SHARE = 0.05
# Blocks discarded by the same run on another machine, as a share of all; at least two blocks.
OTHER_MACHINE = 0.15
